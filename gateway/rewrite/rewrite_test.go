package rewrite_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

var fields = rewrite.Fields{
	"imageUrl":     {Name: "imageUrl", Source: true},
	"thumbnailUrl": {Name: "thumbnailUrl", Fill: true},
	"avatarUrl":    {Name: "avatarUrl"},
	"pic":          {Name: "imageUrl", Source: true}, // an alias
}

// mark is a Link whose answers contain its arguments.
func mark(field *rewrite.Field, url string) (string, bool) {
	rest, ok := strings.CutPrefix(url, "o/")
	return field.Name + "<" + rest, ok
}

// hexMark is like mark, with an answer that all JSON encoders write in the same way.
func hexMark(field *rewrite.Field, url string) (string, bool) {
	rest, ok := strings.CutPrefix(url, "o/")
	return fmt.Sprintf("%s.%x", field.Name, rest), ok
}

// rewritten gives body to a Rewriter in chunks of at most n bytes.
func rewritten(body string, fields rewrite.Fields, n int) (out string, complete bool) {
	return rewrittenBy(mark, body, fields, n)
}

func rewrittenBy(link rewrite.Link, body string, fields rewrite.Fields, n int) (out string, complete bool) {
	var r rewrite.Rewriter
	r.Reset(fields, link)
	var dst []byte
	for chunk := []byte(body); len(chunk) > 0; {
		cut := min(n, len(chunk))
		dst = r.Append(dst, bytes.Clone(chunk[:cut]))
		chunk = chunk[cut:]
	}
	dst, complete = r.Close(dst)
	return string(dst), complete
}

func TestRewriter_Close_Complete(t *testing.T) {
	for in, want := range map[string]bool{
		``: true, `{}`: true, `[1]`: true, `{"a":`: false, `{"a"`: false, `[1`: false,
		`{"a":NaN}`: true, `)]}'`: true, "\xff\xfe{\x00": true, // no JSON: it passes as it is
	} {
		if out, complete := rewritten(in, rewrite.Fields{}, 3); complete != want || out != in {
			t.Errorf("%q: %q, complete %v", in, out, complete)
		}
	}
}

func TestRewriter_Append(t *testing.T) {
	long := strings.Repeat("x", rewrite.MaxValue)
	for name, c := range map[string]struct{ in, want string }{
		"a field": {`{"imageUrl":"o/a"}`, `{"imageUrl":"imageUrl<a"}`},
		"a byte order mark": {"\xef\xbb\xbf{\"imageUrl\":\"o/a\"}",
			"\xef\xbb\xbf{\"imageUrl\":\"imageUrl<a\"}"},
		"half of one": {"\xef\xbb{\"imageUrl\":\"o/a\"}", "\xef\xbb{\"imageUrl\":\"o/a\"}"},
		"one in the wrong place": {"{}\xef\xbb\xbf{\"imageUrl\":\"o/a\"}",
			"{}\xef\xbb\xbf{\"imageUrl\":\"o/a\"}"},
		"blanks stay": {" {\n\t\"imageUrl\" :\r\n \"o/a\" } \n",
			" {\n\t\"imageUrl\" :\r\n \"imageUrl<a\" } \n"},
		"another field":          {`{"url":"o/a","imageurl":"o/a"}`, `{"url":"o/a","imageurl":"o/a"}`},
		"a value that is a name": {`{"a":"imageUrl","b":"o/a"}`, `{"a":"imageUrl","b":"o/a"}`},
		"the link says no":       {`{"imageUrl":"x/a"}`, `{"imageUrl":"x/a"}`},
		"an alias":               {`{"pic":"o/a"}`, `{"pic":"imageUrl<a"}`},
		"an array": {`{"imageUrl":["o/a", "x", ["o/b"], null, {"u":"o/c"}]}`,
			`{"imageUrl":["imageUrl<a", "x", ["imageUrl<b"], null, {"u":"o/c"}]}`},
		"an object below the field": {`{"imageUrl":{"url":"o/a"},"x":"o/b"}`,
			`{"imageUrl":{"url":"o/a"},"x":"o/b"}`},
		"what follows an array": {`[{"imageUrl":[1]},"o/a",{"avatarUrl":"o/b"}]`,
			`[{"imageUrl":[1]},"o/a",{"avatarUrl":"avatarUrl<b"}]`},
		"a batch": {`[{"data":{"imageUrl":"o/a"}},{"data":{"imageUrl":"o/b"}}]`,
			`[{"data":{"imageUrl":"imageUrl<a"}},{"data":{"imageUrl":"imageUrl<b"}}]`},
		"duplicate names": {`{"imageUrl":"o/a","imageUrl":"o/b"}`,
			`{"imageUrl":"imageUrl<a","imageUrl":"imageUrl<b"}`},
		"an escaped value": {`{"imageUrl":"o\/a\u00e9\ud83d\ude00"}`, `{"imageUrl":"imageUrl<aé😀"}`},
		"an escaped name":  {`{"image\u0055rl":"o/a"}`, `{"image\u0055rl":"imageUrl<a"}`},
		"an escaped quote": {`{"a\"":"\\","imageUrl":"o/\""}`, `{"a\"":"\\","imageUrl":"imageUrl<\""}`},
		"half a surrogate": {`{"imageUrl":"o/\ud83d"}`, `{"imageUrl":"o/\ud83d"}`},
		"invalid UTF-8 in other strings": {"{\"a\xff\":\"\xfe\",\"imageUrl\":\"o/a\"}",
			"{\"a\xff\":\"\xfe\",\"imageUrl\":\"imageUrl<a\"}"},
		"invalid UTF-8 in it": {"{\"imageUrl\":\"o/\xff\"}", "{\"imageUrl\":\"o/\xff\"}"},
		"numbers stay as spelled": {`{"n":12345678901234567890.10E+400,"imageUrl":"o/a","m":-0}`,
			`{"n":12345678901234567890.10E+400,"imageUrl":"imageUrl<a","m":-0}`},
		"other values of a field": {`{"imageUrl":1e5,"avatarUrl":true,"pic":false,"thumbnailUrl":-1}`,
			`{"imageUrl":1e5,"avatarUrl":true,"pic":false,"thumbnailUrl":-1}`},
		"null is filled": {`{"imageUrl":"o/a","thumbnailUrl":null}`,
			`{"imageUrl":"imageUrl<a","thumbnailUrl":"thumbnailUrl<a"}`},
		"an empty one is filled": {`{"imageUrl":"o/a","thumbnailUrl": "" }`,
			`{"imageUrl":"imageUrl<a","thumbnailUrl": "thumbnailUrl<a" }`},
		"not before its source": {`{"thumbnailUrl":null,"imageUrl":"o/a"}`,
			`{"thumbnailUrl":null,"imageUrl":"imageUrl<a"}`},
		"not from another object": {`[{"imageUrl":"o/a"},{"thumbnailUrl":null}]`,
			`[{"imageUrl":"imageUrl<a"},{"thumbnailUrl":null}]`},
		"not from an inner object": {`{"x":{"imageUrl":"o/a"},"thumbnailUrl":null}`,
			`{"x":{"imageUrl":"imageUrl<a"},"thumbnailUrl":null}`},
		"over an inner object": {`{"imageUrl":"o/a","x":{"imageUrl":"o/b"},"thumbnailUrl":null}`,
			`{"imageUrl":"imageUrl<a","x":{"imageUrl":"imageUrl<b"},"thumbnailUrl":"thumbnailUrl<a"}`},
		"from no source that is null": {`{"imageUrl":"o/a","imageUrl":null,"thumbnailUrl":null}`,
			`{"imageUrl":"imageUrl<a","imageUrl":null,"thumbnailUrl":null}`},
		"only empty fill fields": {`{"imageUrl":"o/a","avatarUrl":null,"thumbnailUrl":"x"}`,
			`{"imageUrl":"imageUrl<a","avatarUrl":null,"thumbnailUrl":"x"}`},
		"not in arrays": {`{"imageUrl":"o/a","thumbnailUrl":[null,""]}`,
			`{"imageUrl":"imageUrl<a","thumbnailUrl":[null,""]}`},
		"a Link may refuse to fill": {`{"imageUrl":"x/a","thumbnailUrl":null}`,
			`{"imageUrl":"x/a","thumbnailUrl":null}`},
		"too long to be a URL": {`{"imageUrl":"o/` + long + `","thumbnailUrl":null,"avatarUrl":"o/a"}`,
			`{"imageUrl":"o/` + long + `","thumbnailUrl":null,"avatarUrl":"avatarUrl<a"}`},
		"a long name": {`{"` + long + `":"o/a","imageUrl":"o/a"}`,
			`{"` + long + `":"o/a","imageUrl":"imageUrl<a"}`},
		"several texts": {"{\"imageUrl\":\"o/a\"}\n{\"imageUrl\":\"o/b\"}\n",
			"{\"imageUrl\":\"imageUrl<a\"}\n{\"imageUrl\":\"imageUrl<b\"}\n"},
		"a text that is not an object": {`"o/a"`, `"o/a"`},
		"nothing":                      {``, ``},
		"no JSON":                      {`<html>{"imageUrl":"o/a"}`, `<html>{"imageUrl":"o/a"}`},
		"a text that becomes invalid JSON": {`{"imageUrl":"o/a",}{"imageUrl":"o/b"}`,
			`{"imageUrl":"imageUrl<a",}{"imageUrl":"o/b"}`},
		"a closing brace too many": {`{}}{"imageUrl":"o/b"}`, `{}}{"imageUrl":"o/b"}`},
		"brackets that do not fit": {`[{]{"imageUrl":"o/b"}`, `[{]{"imageUrl":"o/b"}`},
		"a line break within a string": {"{\"imageUrl\":\"o/\na\",\"avatarUrl\":\"o/b\"}",
			"{\"imageUrl\":\"o/\na\",\"avatarUrl\":\"o/b\"}"},
		"an invalid literal": {`{"imageUrl":"o/a","thumbnailUrl":nulllllllllllll}`,
			`{"imageUrl":"imageUrl<a","thumbnailUrl":nulllllllllllll}`},
		"cut in a value":   {`{"imageUrl":"o/a`, `{"imageUrl":"o/a`},
		"cut in an escape": {`{"imageUrl":"o/a\`, `{"imageUrl":"o/a\`},
		"cut in null": {`{"imageUrl":"o/a","thumbnailUrl":nul`,
			`{"imageUrl":"imageUrl<a","thumbnailUrl":nul`},
		"cut behind a whole value": {`{"imageUrl":"o/a"`, `{"imageUrl":"imageUrl<a"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 1000, 1 << 20} {
				if got, _ := rewritten(c.in, fields, n); got != c.want {
					t.Errorf("in chunks of %d:\n%.200s\nis\n%.200s\nnot\n%.200s", n, c.in, got, c.want)
				}
			}
		})
	}
}

func TestRewriter_Close_Truncated(t *testing.T) {
	for body, want := range map[string]bool{
		``: true, `{}`: true, "[]\n": true, `{}{}`: true, `12`: true, `"a"`: true,
		`{`: false, `[1,`: false, `"a`: false, `{"a":nul`: false, `{"imageUrl":"`: false, `{} {`: false,
	} {
		if _, got := rewritten(body, fields, 3); got != want {
			t.Errorf("%q is complete: %v", body, got)
		}
	}
}

func TestRewriter_Append_HoldsBackOnlyValues(t *testing.T) {
	var r rewrite.Rewriter
	r.Reset(fields, mark)
	for _, c := range []struct{ in, out string }{
		{`{"posts":[{"id":"p`, `{"posts":[{"id":"p`},
		{`1","imageU`, `1","imageU`},
		{`rl": "o/`, `rl": `},
		{`a"`, `"imageUrl<a"`},
		{`,"thumbnailUrl":nu`, `,"thumbnailUrl":`},
		{`ll`, ``},
		{`}`, `"thumbnailUrl<a"}`},
	} {
		if got := string(r.Append(nil, []byte(c.in))); got != c.out {
			t.Errorf("after %s got %s, want %s", c.in, got, c.out)
		}
	}
}

func TestRewriter_Append_MaxDepth(t *testing.T) {
	for depth, want := range map[int]string{rewrite.MaxDepth: "avatarUrl<a", rewrite.MaxDepth + 1: "o/a"} {
		body := strings.Repeat("[", depth-1) + `{"avatarUrl":"o/a"}` + strings.Repeat("]", depth-1)
		got, _ := rewritten(body, fields, 100)
		if !strings.Contains(got, `"`+want+`"`) || len(got) != len(body)+len(want)-len("o/a") {
			t.Errorf("at depth %d there is no %s", depth, want)
		}
	}
}

func TestRewriter_Append_MaxRemembered(t *testing.T) {
	// 100 nested objects, each with a URL of 1,000 bytes: the Rewriter does not remember the
	// innermost URLs.
	const n = 100
	url := strings.Repeat("x", 1000)
	body := strings.Repeat(`{"imageUrl":"o/`+url+`","in":`, n) + "0" + strings.Repeat(`,"thumbnailUrl":null}`, n)
	got, complete := rewritten(body, fields, 4096)
	if filled := strings.Count(got, "thumbnailUrl<"); filled < 60 || filled > 66 || !complete ||
		!json.Valid([]byte(got)) {
		t.Errorf("%d of %d were filled, complete %v", filled, n, complete)
	}
}

func FuzzRewriter_AgreesWithEncodingJSON(f *testing.F) {
	for _, seed := range []string{
		`{"imageUrl":"o/a","thumbnailUrl":null,"author":{"avatarUrl":"o\/b"}}`,
		`[{"imageUrl":["o/a",["o/b"]],"thumbnailUrl":""},{"pic":"o/\ud83d\ude00","thumbnailUrl":""}]`,
		"{\"image\\u0055rl\":\"o/a\"} {\"imageUrl\":\"o/\xff\"}\n1e400 null",
		`{"imageUrl":"o/a","imageUrl":"o/\u0000\"","n":-0.10}`, `{"imageUrl":"o/a`, `{"thumbnailUrl":nulll`,
	} {
		f.Add([]byte(seed), uint8(3))
	}
	f.Fuzz(func(t *testing.T, body []byte, n uint8) {
		got, complete := rewrittenBy(hexMark, string(body), fields, max(int(n), 1))
		if whole, same := rewrittenBy(hexMark, string(body), fields, 1<<30); got != whole || complete != same {
			t.Fatalf("in chunks of %d:\n%q\nwhole:\n%q", n, got, whole)
		}
		if untouched, _ := rewrittenBy(hexMark, string(body), nil, max(int(n), 1)); untouched != string(body) {
			t.Fatalf("without fields:\n%q\nis\n%q", body, untouched)
		}
		want, ok := oracle(body, fields, hexMark)
		if !ok {
			return
		}
		if got != string(want) {
			t.Fatalf("%q\nis\n%q\nnot\n%q", body, got, want)
		}
		if !complete {
			t.Fatalf("%q is whole", body)
		}
	})
}
