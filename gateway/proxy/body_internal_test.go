package proxy

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/rewrite"
)

// For every body, coding and split into pieces: the client decodes what a Rewriter makes of the
// whole body, and a truncated body ends with an error.
func FuzzBody_AnyCoding_EqualsWholeRewrite(f *testing.F) {
	f.Add([]byte(`{"imageUrl":"o/a","x":[1,2,3]}`), uint8(0), uint8(3), uint16(0))
	f.Add([]byte(strings.Repeat(`{"imageUrl":"o/a"}`, 1000)), uint8(1), uint8(200), uint16(5))
	f.Add([]byte(`{"imageUrl":"o/a`), uint8(2), uint8(1), uint16(1))
	f.Add([]byte(``), uint8(3), uint8(0), uint16(0))
	codings := []string{"", "gzip", "br", "zstd"}
	fields := rewrite.Fields{"imageUrl": {Name: "imageUrl"}}
	link := func(_ *rewrite.Field, url string) (string, bool) { return "signed", strings.HasPrefix(url, "o/") }
	whole := func(text []byte) []byte {
		var r rewrite.Rewriter
		r.Reset(fields, link)
		out, _ := r.Close(r.Append(nil, text))
		return out
	}
	p := &Proxy{}
	p.buffers.New = func() any { return new([chunk]byte) }
	f.Fuzz(func(t *testing.T, text []byte, which, piece uint8, cut uint16) {
		coding := codings[which%4]
		sent := encodeAs(coding, text)
		if coding == "" || len(sent) == 0 {
			cut = 0
		}
		cut = min(cut, uint16(min(len(sent), 1<<15)))
		sent = sent[:len(sent)-int(cut)]
		var from io.Reader = bytes.NewReader(sent)
		switch piece % 3 {
		case 1:
			from = iotest.OneByteReader(from)
		case 2:
			from = iotest.DataErrReader(from)
		}
		resp := &http.Response{
			Header: http.Header{"Content-Encoding": {coding}}, Body: io.NopCloser(from),
			ProtoMajor: 1, ContentLength: int64(len(sent)),
		}
		var r rewrite.Rewriter
		r.Reset(fields, link)
		c, ok := p.codings.of(resp.Header)
		if !ok {
			t.Fatalf("%q is not read", coding)
		}
		body := p.newBody(resp, &r, c, &exchange{page: &imagelink.Page{}})
		resp.ContentLength = -1
		var got []byte
		var err error
		if piece%2 == 0 {
			err = body.whole()
		}
		if stated := resp.ContentLength; err == nil {
			if got, err = io.ReadAll(body); stated >= 0 && (err != nil || int64(len(got)) != stated) {
				t.Fatalf("%s, cut by %d: %d bytes, %v; %d are stated", coding, cut, len(got), err, stated)
			}
		}
		body.Close()
		switch {
		case err == nil:
			// The missing part is not needed, like the empty block at the end of a stream.
			if len(sent) == 0 {
				return
			}
			if got := decodeAs(t, coding, got); !bytes.Equal(got, whole(text)) {
				t.Fatalf("%s, cut by %d:\n%q\nnot\n%q", coding, cut, got, whole(text))
			}
		case cut == 0:
			t.Fatalf("%s: %v", coding, err)
		}
	})
}

func encodeAs(coding string, text []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	default:
		return text
	}
	_, _ = w.Write(text)
	_ = w.Close()
	return b.Bytes()
}

func decodeAs(t *testing.T, coding string, sent []byte) []byte {
	var r io.Reader = bytes.NewReader(sent)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", coding, err)
	}
	return text
}

// Buffers are reused only after their body is closed.
func TestBody_Close_GivesItsBuffersBack(t *testing.T) {
	p := &Proxy{}
	p.buffers.New = func() any { return new([chunk]byte) }
	fields := rewrite.Fields{"imageUrl": {Name: "imageUrl"}}
	open := func(text string) *body {
		resp := &http.Response{
			Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)),
			ProtoMajor: 1, ContentLength: int64(len(text)),
		}
		var r rewrite.Rewriter
		r.Reset(fields, func(*rewrite.Field, string) (string, bool) { return "", false })
		c, _ := p.codings.of(resp.Header)
		return p.newBody(resp, &r, c, &exchange{page: &imagelink.Page{}})
	}
	var bodies []*body
	var texts []string
	for i := range 20 { // all open at once, each read by half, then the rest
		text := `{"caption":"` + strings.Repeat(string(rune('a'+i)), 8000) + `"}`
		bodies, texts = append(bodies, open(text)), append(texts, text)
	}
	got := make([][]byte, len(bodies))
	for i, b := range bodies {
		got[i] = make([]byte, 4000)
		_, _ = io.ReadFull(b, got[i])
	}
	for i, b := range bodies {
		rest, err := io.ReadAll(b)
		if got[i] = append(got[i], rest...); err != nil || string(got[i]) != texts[i] {
			t.Errorf("body %d: %d bytes, %v; want its own %d", i, len(got[i]), err, len(texts[i]))
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if _, err := b.Read(make([]byte, 10)); err == nil {
			t.Error("a closed body can be read")
		}
	}
}
