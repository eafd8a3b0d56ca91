package proxy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/proxy"
	"github.com/novasocial/imagetier/gateway/rewrite"
)

// feedPage is an answer of 20 posts with 60 different URLs to sign.
func feedPage() []byte {
	var b bytes.Buffer
	b.WriteString(`{"data":{"feed":{"posts":[`)
	for i := range 20 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"post-%d","caption":"A day at the sea, %d of many. Es war schön \u2600 and we stayed until the sun was gone; see you there tomorrow.","imageUrl":"https://cdn.app.example/2026/11/%08x4c7d65abcdef0123.jpg","thumbnailUrl":"https://cdn.app.example/2026/11/t/%08x4c7d65abcdef0123.jpg","likeCount":%d,"commentCount":%d,"author":{"id":"user-%d","username":"someone.%d","avatarUrl":"https://cdn.app.example/avatars/%08x4c7d65abcdef0123.jpg"}}`,
			i, i, i*7919, i*7919, i*1013, i, i%7, i%7, i)
	}
	b.WriteString(`],"cursor":"b3BhcXVl","hasMore":true}}}`)
	return b.Bytes()
}

// BenchmarkPage rewrites a page of 20 posts with 60 URLs that are signed. The floor is signing
// alone. encoding/json decodes, changes and encodes the page, as a middleware would. The last cases
// are whole exchanges, with the service and its client in the same process.
func BenchmarkPage(b *testing.B) {
	page := feedPage()
	linker := newLinker(b)
	client := imagelink.ClientOfUserAgent(iPhone)
	fields := rewrite.Fields{
		"imageUrl":     {Name: "imageUrl", Source: true},
		"thumbnailUrl": {Name: "thumbnailUrl", Fill: true},
		"avatarUrl":    {Name: "avatarUrl"},
	}
	var urls []string
	link := func(field *rewrite.Field, url string) (string, bool) {
		minted, err := linker.Mint(client, "feed", url, imagelink.Post{})
		return minted.URL, err == nil
	}
	check := func(b *testing.B, out []byte) {
		b.Helper()
		if n := bytes.Count(out, []byte("https://img.example.com/i/k1.")); n != 60 {
			b.Fatalf("%d URLs are signed", n)
		}
	}
	b.Run("rewrite", func(b *testing.B) {
		var r rewrite.Rewriter
		var out []byte
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		for b.Loop() {
			r.Reset(fields, link)
			out = r.Append(out[:0], page)
			out, _ = r.Close(out)
		}
		check(b, out)
	})
	b.Run("signing alone", func(b *testing.B) {
		var r rewrite.Rewriter
		r.Reset(fields, func(_ *rewrite.Field, url string) (string, bool) {
			urls = append(urls, url)
			return "", false
		})
		r.Append(nil, page)
		b.ReportAllocs()
		for b.Loop() {
			for _, url := range urls {
				_, _ = link(nil, url)
			}
		}
	})
	b.Run("encoding json", func(b *testing.B) {
		var out []byte
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		for b.Loop() {
			d := json.NewDecoder(bytes.NewReader(page))
			d.UseNumber()
			var v any
			if err := d.Decode(&v); err != nil {
				b.Fatal(err)
			}
			change(v, link, fields)
			out, _ = json.Marshal(v)
		}
		check(b, out)
	})
	if rewriteTokens := tokens(byTokens); rewriteTokens != nil {
		b.Run("jsontext", func(b *testing.B) {
			var out []byte
			b.SetBytes(int64(len(page)))
			b.ReportAllocs()
			for b.Loop() {
				out = rewriteTokens(out[:0], page, fields, link)
			}
			check(b, out)
		})
	}
	for _, coding := range []string{"identity", "gzip", "br", "zstd"} {
		b.Run("exchange "+coding, func(b *testing.B) { benchmarkProxy(b, coding, page) })
	}
}

// tokens is byTokens, if available.
type tokens func(dst, page []byte, fields rewrite.Fields, link rewrite.Link) []byte

// change modifies decoded JSON as a middleware would.
func change(v any, link rewrite.Link, fields rewrite.Fields) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			change(item, link, fields)
		}
	case map[string]any:
		image, _ := v["imageUrl"].(string)
		for name, value := range v {
			field := fields[name]
			if field == nil {
				change(value, link, fields)
				continue
			}
			text, _ := value.(string)
			if text == "" && field.Fill {
				text = image
			}
			if minted, ok := link(field, text); ok && text != "" {
				v[name] = minted
			}
		}
	}
}

// benchmarkProxy counts what a whole exchange costs, the service and the client not counted
// out: without HTTP in between, by the handler alone.
func benchmarkProxy(b *testing.B, coding string, page []byte) {
	text := string(page)
	header := http.Header{"Content-Type": {"application/json"}}
	if coding != "identity" {
		text = compressed(b, coding, text)
		header.Set("Content-Encoding", coding)
	}
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, values := range header {
			w.Header()[name] = values
		}
		_, _ = io.WriteString(w, text)
	}))
	defer service.Close()
	u, _ := url.Parse(service.URL)
	p, err := proxy.New(proxy.Config{Upstream: u, Linker: newLinker(b), Fields: fields})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	const query = `{"query":"query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl author { id username avatarUrl } } cursor hasMore } }","variables":{"limit":20}}`
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest("POST", "/graphql", strings.NewReader(query))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", iPhone)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, req)
		if w.Code != 200 || w.Body.Len() == 0 {
			b.Fatalf("%d", w.Code)
		}
	}
}
