package proxy

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/rewrite"
)

// editor is a rewriter of some kind of body.
type editor interface {
	Append(dst, src []byte) []byte
	Close(dst []byte) (out []byte, complete bool)
}

// incoming decides whether an answer is rewritten, before its headers are sent.
func (p *Proxy) incoming(resp *http.Response) error {
	x := exchangeOf(resp.Request.Context())
	x.Status, x.First = resp.StatusCode, time.Since(x.started)
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		if !isWebSocket(resp.Header) {
			return errors.New("the service switched to a protocol that the client did not request")
		}
		x.Kind = Upgraded
		return nil
	case resp.StatusCode == http.StatusNotModified:
		p.notModified(resp, x)
		return nil
	case resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusPartialContent:
		return nil
	case resp.ContentLength == 0 && !x.head:
		return nil // an empty body is valid in every coding
	}
	kind, edit := p.editorFor(resp, x)
	if edit == nil {
		return nil
	}
	coding, ok := p.codings.of(resp.Header)
	if !ok {
		x.Kind = Unread
		return nil
	}
	x.Kind = kind
	p.changeHeaders(resp, x)
	if x.head || resp.Body == nil {
		return nil
	}
	b, length := p.newBody(resp, edit, coding, x), resp.ContentLength
	resp.Body, resp.ContentLength = b, -1
	if kind == JSON && length > 0 && length <= chunk && len(resp.Trailer) == 0 {
		return b.whole()
	}
	return nil
}

// editorFor returns the editor for answers of that type; nil if they pass unchanged.
func (p *Proxy) editorFor(resp *http.Response, x *exchange) (Kind, editor) {
	contentType := resp.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil && media == "" {
		return Passed, nil
	}
	switch {
	case rewrite.IsJSON(contentType):
		r := &rewrite.Rewriter{}
		r.Reset(x.query.fields, p.link(x))
		return JSON, r
	case media == "text/event-stream":
		e := &rewrite.Events{}
		e.Reset(x.query.fields, p.link(x))
		return Events, e
	case media == "multipart/mixed" && params["boundary"] != "":
		m := &rewrite.Multipart{}
		m.Reset(params["boundary"], x.query.fields, p.link(x))
		return Multipart, m
	}
	return Passed, nil
}

// changeHeaders changes the headers of an answer to those of the rewritten one.
func (p *Proxy) changeHeaders(resp *http.Response, x *exchange) {
	h := resp.Header
	h.Del("Content-Length") // not known before the end
	dropValidators(h)
	dropValidators(resp.Trailer)
	resp.Trailer.Del("Etag")
	addVary(h)
	p.boundFreshness(h)
	if tag := h.Get("Etag"); tag != "" {
		if tag = p.derivedTag(tag, x); tag != "" {
			h.Set("Etag", tag)
		} else {
			h.Del("Etag")
		}
	}
}

// dropValidators deletes the fields of headers or trailers that describe the service's bytes,
// or that a client could send back to ask whether they have changed.
func dropValidators(h http.Header) {
	for _, name := range []string{
		"Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Signature", "Signature-Input",
		"Accept-Ranges",
		"Last-Modified", // an answer also changes with keys and profiles
	} {
		h.Del(name)
	}
}

// notModified answers 304 with the tag that the client has.
func (p *Proxy) notModified(resp *http.Response, x *exchange) {
	called, ok := x.tags[strings.TrimPrefix(resp.Header.Get("Etag"), "W/")]
	if !ok && resp.Header.Get("Etag") == "" && len(x.tags) == 1 {
		for _, called = range x.tags { // a 304 need not repeat the ETag
			ok = true
		}
	}
	if ok {
		dropValidators(resp.Header)
		resp.Header.Set("Etag", called)
		addVary(resp.Header)
		p.boundFreshness(resp.Header)
	}
}

// addVary adds the request headers that rewritten answers depend on.
func addVary(h http.Header) {
	names := strings.Split(strings.Join(h["Vary"], ","), ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	if slices.Contains(names, "*") {
		return
	}
	for name := range strings.SplitSeq(imagelink.Vary, ", ") {
		if !slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(other, name) }) {
			names = append(names, name)
		}
	}
	h.Set("Vary", strings.Join(names, ", "))
}
