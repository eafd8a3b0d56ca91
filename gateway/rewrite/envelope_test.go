package rewrite_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

// editor is the interface that Rewriter, Multipart and Events share.
type editor interface {
	Append(dst, src []byte) []byte
	Close(dst []byte) ([]byte, bool)
}

func edited(e editor, body string, n int) (string, bool) {
	var dst []byte
	for len(body) > 0 {
		cut := min(n, len(body))
		dst = e.Append(dst, []byte(body[:cut]))
		body = body[cut:]
	}
	dst, complete := e.Close(dst)
	return string(dst), complete
}

func parts(boundary string, link rewrite.Link) editor {
	var m rewrite.Multipart
	m.Reset(boundary, fields, link)
	return &m
}

func events(link rewrite.Link) editor {
	var e rewrite.Events
	e.Reset(fields, link)
	return &e
}

func TestMultipart_Append(t *testing.T) {
	for name, c := range map[string]struct {
		boundary, in, want string
		complete           bool
	}{
		"as GraphQL servers send @defer": {
			"-",
			"\r\n---\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{\"data\":{\"imageUrl\":\"o/a\"},\"hasNext\":true}\r\n---\r\nContent-Type: application/json\r\n\r\n{\"incremental\":[{\"data\":{\"avatarUrl\":\"o/b\"}}],\"hasNext\":false}\r\n-----\r\n",
			"\r\n---\r\nContent-Type: application/json; charset=utf-8\r\n\r\n{\"data\":{\"imageUrl\":\"imageUrl<a\"},\"hasNext\":true}\r\n---\r\nContent-Type: application/json\r\n\r\n{\"incremental\":[{\"data\":{\"avatarUrl\":\"avatarUrl<b\"}}],\"hasNext\":false}\r\n-----\r\n", true,
		},
		"lengths of parts would be wrong": {
			"b", "--b\r\ncontent-length: 18\r\nContent-Type: application/json\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n--b--",
			"--b\r\nContent-Type: application/json\r\n\r\n{\"imageUrl\":\"imageUrl<a\"}\r\n--b--", true,
		},
		"parts that are no JSON stay": {
			"b", "preamble {\"imageUrl\":\"o/a\"}\r\n--b \r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n--b\r\n\r\n{\"imageUrl\":\"o/b\"}\r\n--b--\r\nepilogue {\"imageUrl\":\"o/a\"}",
			"preamble {\"imageUrl\":\"o/a\"}\r\n--b \r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n--b\r\n\r\n{\"imageUrl\":\"imageUrl<b\"}\r\n--b--\r\nepilogue {\"imageUrl\":\"o/a\"}", true,
		},
		"lines that begin like a delimiter": {
			"b", "--b\n\n[\n-1,\n{\"imageUrl\":\"o/a\"}]\n--bb\n--b-x\n--b--",
			"--b\n\n[\n-1,\n{\"imageUrl\":\"imageUrl<a\"}]\n--bb\n--b-x\n--b--", true,
		},
		"cut in a value":     {"b", "--b\r\n\r\n{\"imageUrl\":\"o/a", "--b\r\n\r\n{\"imageUrl\":\"o/a", false},
		"cut in headers":     {"b", "--b\r\nContent-Length: 1", "--b\r\nContent-Length: 1", false},
		"cut in a delimiter": {"b", "--b\r\n\r\n{}\r\n--b-", "--b\r\n\r\n{}\r\n--b-", false},
		"headers without an end": {"b",
			"--b\r\n" + strings.Repeat("x", 20_000) + "\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n--b--",
			"--b\r\n" + strings.Repeat("x", 20_000) + "\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n--b--", true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 5, 17, 9000, 1 << 20} {
				if got, complete := edited(parts(c.boundary, mark), c.in, n); got != c.want || complete != c.complete {
					t.Errorf("in chunks of %d, complete %v:\n%.300q\nis\n%.300q\nnot\n%.300q",
						n, complete, c.in, got, c.want)
				}
			}
		})
	}
}

func TestEvents_Append(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"as GraphQL servers send it": {"event: next\ndata: {\"imageUrl\":\"o/a\"}\n\nevent: complete\n\n",
			"event: next\ndata: {\"imageUrl\":\"imageUrl<a\"}\n\nevent: complete\n\n"},
		"behind a byte order mark": {"\xef\xbb\xbfdata:{\"imageUrl\":\"o/a\"}\n\n",
			"\xef\xbb\xbfdata:{\"imageUrl\":\"imageUrl<a\"}\n\n"},
		"behind half of one": {"\xefdata:{\"imageUrl\":\"o/a\"}\n\n", "\xefdata:{\"imageUrl\":\"o/a\"}\n\n"},
		"without a blank":    {"data:{\"imageUrl\":\"o/a\"}\n\n", "data:{\"imageUrl\":\"imageUrl<a\"}\n\n"},
		"every line end":     {"data: {\"imageUrl\":\"o/a\"}\r\n\r\ndata: {\"imageUrl\":\"o/b\"}\r\rdata: {\"imageUrl\":\"o/c\"}\n\n", "data: {\"imageUrl\":\"imageUrl<a\"}\r\n\r\ndata: {\"imageUrl\":\"imageUrl<b\"}\r\rdata: {\"imageUrl\":\"imageUrl<c\"}\n\n"},
		"other fields":       {": {\"imageUrl\":\"o/a\"}\nid: {\"imageUrl\":\"o/a\"}\ndatax: {\"imageUrl\":\"o/a\"}\nDATA: {\"imageUrl\":\"o/a\"}\n\n", ": {\"imageUrl\":\"o/a\"}\nid: {\"imageUrl\":\"o/a\"}\ndatax: {\"imageUrl\":\"o/a\"}\nDATA: {\"imageUrl\":\"o/a\"}\n\n"},
		"text in several lines": {"data: {\"imageUrl\":\ndata: \"o/a\",\ndata: \"thumbnailUrl\":null\ndata: }\n\n",
			"data: {\"imageUrl\":\ndata: \"imageUrl<a\",\ndata: \"thumbnailUrl\":\"thumbnailUrl<a\"\ndata: }\n\n"},
		"lines that end in CR and LF": {"data: {\"imageUrl\":\r\ndata: \"o/a\"}\r\n\r\n",
			"data: {\"imageUrl\":\r\ndata: \"imageUrl<a\"}\r\n\r\n"},
		"one that is no JSON": {"data: hello {\"imageUrl\":\"o/a\"}\n\ndata: {\"imageUrl\":\"o/b\"}\n\n",
			"data: hello {\"imageUrl\":\"o/a\"}\n\ndata: {\"imageUrl\":\"imageUrl<b\"}\n\n"},
		"one that was not ended": {"data: {\"imageUrl\":\"o/a\ndata: b\"}\n\ndata: {\"imageUrl\":\"o/b\"}\n\n",
			"data: {\"imageUrl\":\"o/a\ndata: b\"}\n\ndata: {\"imageUrl\":\"imageUrl<b\"}\n\n"},
		"a cut value": {"data: {\"imageUrl\":\"o/a", "data: {\"imageUrl\":\"o/a"},
		"nothing":     {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 5, 17, 1 << 20} {
				if got, complete := edited(events(mark), c.in, n); got != c.want || !complete {
					t.Errorf("in chunks of %d:\n%q\nis\n%q\nnot\n%q", n, c.in, got, c.want)
				}
			}
		})
	}
}

func TestEvents_Append_HoldsBackNothing(t *testing.T) {
	e := events(mark)
	got := string(e.Append(nil, []byte("data: {\"imageUrl\":\"o/a\"}\n")))
	if got != "data: {\"imageUrl\":\"imageUrl<a\"}\n" {
		t.Errorf("after one line: %q", got)
	}
	m := parts("-", mark)
	m.Append(nil, []byte("---\r\nContent-Type: application/json\r\n\r\n"))
	if got := string(m.Append(nil, []byte(`{"imageUrl":"o/a"}`))); got != `{"imageUrl":"imageUrl<a"}` {
		t.Errorf("after one part: %q", got)
	}
}

// The oracle is mime/multipart: the parts that it reads from the output equal those of the input
// after a Rewriter.
func FuzzMultipart_Rewrite_AgreesWithMimeMultipart(f *testing.F) {
	f.Add(
		[]byte(
			"\r\n---\r\nContent-Type: application/json\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n---\r\nContent-Type: text/plain\r\n\r\n{\"imageUrl\":\"o/a\"}\r\n-----\r\n",
		),
		"-",
		uint8(3),
	)
	f.Add(
		[]byte("--b\r\nContent-Length: 3\r\n\r\n{}\r\n--b\r\n\r\n{\"imageUrl\":\"o/a\",\"thumbnailUrl\":nul\r\n--b--"),
		"b",
		uint8(1),
	)
	f.Fuzz(func(t *testing.T, body []byte, boundary string, n uint8) {
		if boundary == "" || len(boundary) > 70 ||
			strings.Trim(boundary, "-abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return
		}
		got, complete := edited(parts(boundary, hexMark), string(body), max(int(n), 1))
		if whole, same := edited(parts(boundary, hexMark), string(body), 1<<30); got != whole || complete != same {
			t.Fatalf("in chunks of %d:\n%q\nwhole:\n%q", n, got, whole)
		}
		if ends := bytes.Count(body, []byte("\r\n")); ends != 0 && ends != bytes.Count(body, []byte("\n")) {
			return // the oracle expects that all delimiters have the line end of the first line
		}
		before := multipart.NewReader(bytes.NewReader(body), boundary)
		after := multipart.NewReader(strings.NewReader(got), boundary)
		for {
			was, err := before.NextRawPart()
			if err != nil {
				return
			}
			text, err := io.ReadAll(was)
			if err != nil {
				return
			}
			is, err := after.NextRawPart()
			if err != nil {
				t.Fatalf("a part is missing: %v\n%q\nis\n%q", err, body, got)
			}
			now, _ := io.ReadAll(is)
			// The line end before a delimiter belongs to the delimiter, and ends a literal.
			want, _ := rewrittenBy(hexMark, string(text)+"\n", fields, 1<<30)
			if declared := was.Header.Get("Content-Type"); declared != "" && !rewrite.IsJSON(declared) {
				want = string(text) + "\n"
			} else if is.Header.Get("Content-Length") != "" {
				t.Fatalf("%q\nstill has a length:\n%q", body, got)
			}
			if string(now)+"\n" != want {
				t.Fatalf("%q\nis\n%q\nnot\n%q", text, now, want)
			}
		}
	})
}

func FuzzEvents_Rewrite_IsIndependentOfChunks(f *testing.F) {
	f.Add([]byte("event: next\r\ndata: {\"imageUrl\":\"o/a\"}\r\n\r\n"), uint8(2))
	f.Add([]byte("data: {\"imageUrl\":\rdata:\"o/a\"}\n\n\rdata: nul"), uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, n uint8) {
		got, _ := edited(events(hexMark), string(body), max(int(n), 1))
		if whole, _ := edited(events(hexMark), string(body), 1<<30); got != whole {
			t.Fatalf("in chunks of %d:\n%q\nwhole:\n%q", n, got, whole)
		}
		if strings.Count(got, "\n") != strings.Count(string(body), "\n") ||
			strings.Count(got, "\r") != strings.Count(string(body), "\r") {
			t.Fatalf("%q\nhas other lines:\n%q", body, got)
		}
	})
}
