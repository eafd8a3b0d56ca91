package graph_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/graph"
)

// httpRequest abbreviates http.Request.
type httpRequest = http.Request

func TestHandler_InvalidRequests(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: always(twenty())})
	for _, c := range []struct {
		method, kind, body string
		headers            []string
		status             int
		code, says         string
	}{
		{method: "GET", status: 405, code: "BAD_REQUEST", says: "POST"},
		{method: "OPTIONS", status: 405, code: "BAD_REQUEST"},
		{kind: "text/plain", body: query("{feed{cursor}}", nil), status: 415, code: "BAD_REQUEST"},
		{
			kind: "application/json; charset=latin1", body: query("{feed{cursor}}", nil),
			status: 415, code: "BAD_REQUEST",
		},
		{kind: "application/x-www-form-urlencoded", body: "query={feed{cursor}}", status: 415, code: "BAD_REQUEST"},
		{kind: "", body: query("{feed{cursor}}", nil), status: 415, code: "BAD_REQUEST"},
		{
			headers: []string{"Content-Encoding: gzip"}, body: query("{feed{cursor}}", nil),
			status: 415, code: "BAD_REQUEST",
		},
		{headers: []string{"Accept: text/html"}, body: query("{feed{cursor}}", nil), status: 406, code: "BAD_REQUEST"},
		{body: "", status: 400, code: "BAD_REQUEST", says: "JSON"},
		{body: "{", status: 400, code: "BAD_REQUEST"},
		{body: `{"query":7}`, status: 400, code: "BAD_REQUEST"},
		{body: `{}`, status: 400, code: "BAD_REQUEST", says: "no query"},
		{body: `{"query":"{feed{cursor}}"} x`, status: 400, code: "BAD_REQUEST"},
		{body: ` [{"query":"{feed{cursor}}"}]`, status: 400, code: "BAD_REQUEST", says: "Batches are not supported"},
		{body: `{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}`,
			status: 200, code: "PERSISTED_QUERY_NOT_SUPPORTED", says: "PersistedQueryNotSupported"},
		{
			body: query("{feed{cursor}}"+strings.Repeat(" ", 64<<10), nil), status: 413,
			code: "BAD_USER_INPUT", says: "65536",
		},
	} {
		if c.method == "" {
			c.method = "POST"
			if c.kind == "" && c.status != 415 || c.headers != nil {
				c.kind = "application/json"
			}
		}
		r := httptest.NewRequest(c.method, "/graphql", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		for _, header := range c.headers {
			name, value, _ := strings.Cut(header, ": ")
			r.Header.Set(name, value)
		}
		a := do(t, h, r)
		if a.status != c.status || a.codes() != c.code || !strings.Contains(a.body, c.says) ||
			a.header.Get("Content-Type") != "application/json; charset=utf-8" ||
			(c.status == 405) != (a.header.Get("Allow") == "POST") {
			t.Errorf("%+v: %d %s", c, a.status, a.body)
		}
	}
	// A body of unknown length is not read past the limit.
	endless := &counting{}
	r := httptest.NewRequest("POST", "/graphql", endless)
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	if a := do(t, h, r); a.status != 413 || endless.n > 128<<10 {
		t.Errorf("%d after %d bytes", a.status, endless.n)
	}
	// A body with a too large Content-Length is not read at all.
	endless.n, r.ContentLength = 0, 65<<10
	if a := do(t, h, r); a.status != 413 || endless.n > 0 {
		t.Errorf("%d after %d bytes", a.status, endless.n)
	}
}

// counting is an endless body that counts the bytes read.
type counting struct{ n int }

func (c *counting) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	c.n += len(b)
	return len(b), nil
}

func TestHandler_MediaTypes(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: always(twenty())})
	for accept, want := range map[string]string{
		"":                                  "application/json 200",
		"*/*":                               "application/json 200",
		"application/json":                  "application/json 200",
		"application/graphql-response+json": "application/graphql-response+json 400",
		"application/graphql-response+json; charset=utf-8, application/json; charset=utf-8": "application/graphql-response+json 400",
		"application/graphql-response+json;q=0.5, application/json;q=0.9":                   "application/json 200",

		"application/graphql-response+json, */*;q=0.1": "application/graphql-response+json 400",
		"application/*": "application/json 200",
		"multipart/mixed;deferSpec=20220824,application/graphql-response+json,application/json": "application/graphql-response+json 400", // Apollo iOS
	} {
		headers := []string{}
		if accept != "" {
			headers = append(headers, "Accept: "+accept)
		}
		a := ask(t, h, query("{nothing}", nil), headers...)
		kind := strings.TrimSuffix(a.header.Get("Content-Type"), "; charset=utf-8")
		if got := fmt.Sprintf("%s %d", kind, a.status); got != want || a.codes() != "GRAPHQL_VALIDATION_FAILED" {
			t.Errorf("Accept %q: %s %s", accept, got, a.body)
		}
	}
}

// An invalid token is never treated as anonymous.
func TestHandler_InvalidToken(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: always(twenty()), User: func(r *httpRequest) (string, error) {
		switch r.Header.Get("Authorization") {
		case "Bearer later":
			return "", fmt.Errorf("%w: secret-text", graph.ErrAuth)
		case "":
			return "", nil
		}
		return "", errors.New("secret-text")
	}})
	a := ask(t, h, query(k6Query, nil), "Authorization: Bearer bad")
	if a.status != 401 || a.codes() != "UNAUTHENTICATED" || a.Data.Feed != nil ||
		strings.Contains(a.body, "secret-text") ||
		a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = ask(t, h, query(k6Query, nil), "Authorization: Bearer later")
	if a.status != 503 || a.codes() != "AUTH_UNAVAILABLE" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestHandler_QueryLimits(t *testing.T) {
	var called int
	h := newHandler(
		t,
		graph.Config{
			Feed: pages{
				page: func(context.Context, feed.Query) (feed.Page, error) { called++; return feed.Page{}, nil },
			},
		},
	)
	nested := "fragment f0 on Post{id}"
	for i := 1; i < 40; i++ {
		nested += fmt.Sprintf(" fragment f%d on Post{...f%d ...f%d}", i, i-1, i-1)
	}
	for name, c := range map[string]struct{ query, code string }{
		"syntax":       {"{feed{", "GRAPHQL_PARSE_FAILED"},
		"unknown":      {"{feed{nope}}", "GRAPHQL_VALIDATION_FAILED"},
		"no selection": {"{feed}", "GRAPHQL_VALIDATION_FAILED"},
		"schema":       {"{__schema{types{name}}}", "GRAPHQL_VALIDATION_FAILED"},
		"type":         {`{__type(name:"Post"){name}}`, "GRAPHQL_VALIDATION_FAILED"},
		"length":       {"{feed{cursor}}" + strings.Repeat(" ", 17<<10), "BAD_USER_INPUT"},
		"depth":        {"{feed{posts{author{id{a{b{c}}}}}}}", "BAD_USER_INPUT"},
		"breadth":      {"{feed{" + strings.Repeat("cursor ", 600) + "}}", "BAD_USER_INPUT"},
		"aliases": {"{a:feed{cursor} b:feed{cursor} c:feed{cursor} d:feed{cursor} e:feed{cursor}}",
			"BAD_USER_INPUT"},
		"fragments":    {"{feed{posts{...f39}}} " + nested, "BAD_USER_INPUT"},
		"cycle":        {"{feed{posts{...a}}} fragment a on Post{...b} fragment b on Post{...a}", "BAD_USER_INPUT"},
		"unused cycle": {"{feed{cursor}} fragment a on Post{...a}", "BAD_USER_INPUT"},
		"which":        {"query a{feed{cursor}} query b{feed{cursor}}", "BAD_USER_INPUT"},
		"subscription": {"subscription{feed{cursor}}", "GRAPHQL_VALIDATION_FAILED"},
		"defer":        {"{feed{... @defer{cursor}}}", "GRAPHQL_VALIDATION_FAILED"},
		"conflict":     {"{feed{a:cursor a:hasMore}}", "GRAPHQL_VALIDATION_FAILED"},
		"variable":     {"query($l:Int!){feed(limit:$l){cursor}}", "BAD_USER_INPUT"},
		"undefined":    {"{feed(limit:$l){cursor}}", "GRAPHQL_VALIDATION_FAILED"},
		"mutations":    {"mutation{a:batchLike(postIds:[]){success} b:batchLike(postIds:[]){success} c:batchLike(postIds:[]){success} d:batchLike(postIds:[]){success} e:batchLike(postIds:[]){success}}", "BAD_USER_INPUT"},
	} {
		a := ask(t, h, query(c.query, nil))
		if a.status != 200 || !strings.HasPrefix(a.codes(), c.code) || called > 0 ||
			strings.Contains(a.body, `"data"`) {
			t.Errorf("%s: %d %.300s", name, a.status, a.body)
		}
		if strings.Contains(a.body, "Did you mean") {
			t.Errorf("%s: the error suggests names of the schema: %s", name, a.body)
		}
	}
}

func TestHandler_FragmentsDirectivesAliases(t *testing.T) {
	page := twenty()
	page.Items = page.Items[:1]
	h := newHandler(t, graph.Config{Feed: always(page)})
	for _, c := range []struct{ query, variables, want string }{
		{"{__typename feed{__typename posts{__typename author{__typename}}}}", "", `{"__typename":"Query","feed":{"__typename":"Feed","posts":[{"__typename":"Post","author":{"__typename":"User"}}]}}`},
		{
			"{feed{posts{id} hasMore posts{n:commentCount id}}}", "",
			`{"feed":{"posts":[{"id":"post-0","n":0}],"hasMore":true}}`,
		},
		{"{...q} fragment q on Query{feed{... on Feed{hasMore}}}", "", `{"feed":{"hasMore":true}}`},
		{"query($a:Boolean!,$b:Boolean=true){feed{x:hasMore @include(if:$a) y:hasMore @skip(if:$a) z:hasMore @include(if:$b)}}", `{"a":true}`, `{"feed":{"x":true,"z":true}}`},
		{"query($a:Boolean!,$b:Boolean=true){feed{x:hasMore @include(if:$a) y:hasMore @skip(if:$a) z:hasMore @include(if:$b)}}", `{"a":false,"b":false}`, `{"feed":{"y":true}}`},
		{"{feed{hasMore ...@include(if:false){cursor}}}", "", `{"feed":{"hasMore":true}}`},
		{"{a:feed{hasMore} b:feed(limit:1){cursor}}", "", `{"a":{"hasMore":true},"b":{"cursor":"b3BhcXVl"}}`},
		{"query a{feed{cursor}} query b{feed{hasMore}}", `b`, `{"feed":{"hasMore":true}}`},
	} {
		body := map[string]any{"query": c.query}
		if c.variables == "b" {
			body["operationName"] = "b"
		} else if c.variables != "" {
			body["variables"] = json.RawMessage(c.variables)
		}
		text, _ := json.Marshal(body)
		for range 2 { // the second time it is known
			if a := ask(t, h, string(text)); a.body != `{"data":`+c.want+`}` {
				t.Errorf("%s %s: %s", c.query, c.variables, a.body)
			}
		}
	}
}

func TestHandler_IntrospectionOnlyInDev(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: always(twenty()), Dev: true})
	a := ask(t, h, query(introspectionQuery, nil))
	var response struct {
		Data struct {
			Schema struct {
				QueryType struct{ Name string }
				Types     []struct {
					Kind, Name string
					Fields     []struct {
						Name string
						Args []struct{ Name string }
						Type struct {
							Kind   string
							OfType *struct{ Kind, Name string }
						}
					}
				}
			} `json:"__schema"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &response); err != nil || len(a.Errors) > 0 {
		t.Fatalf("%v %.500s", err, a.body)
	}
	fields := map[string]int{}
	for _, typ := range response.Data.Schema.Types {
		fields[typ.Name] = len(typ.Fields)
		if typ.Name == "Query" &&
			(fmt.Sprint(typ.Fields[0].Args) != "[{limit} {cursor} {client}]" || len(typ.Fields) != 1) {
			t.Errorf("%+v", typ)
		}
		if typ.Name == "Post" && (typ.Fields[0].Type.Kind != "NON_NULL" || typ.Fields[0].Type.OfType.Name != "ID") {
			t.Errorf("%+v", typ)
		}
	}
	if fields["Post"] != 15 || fields["Feed"] != 3 || fields["User"] != 3 || fields["Mutation"] != 2 ||
		response.Data.Schema.QueryType.Name != "Query" {
		t.Errorf("%v", fields)
	}
}

// introspectionQuery is what tools send (graphql-js 16).
const introspectionQuery = `query IntrospectionQuery { __schema { ` +
	`queryType { name } mutationType { name } subscriptionType { name } types { ...FullType } ` +
	`directives { name description locations args { ...InputValue } } } }
fragment FullType on __Type { kind name description ` +
	`fields(includeDeprecated: true) { ` +
	`name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } ` +
	`inputFields { ...InputValue } interfaces { ...TypeRef } ` +
	`enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } ` +
	`possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ` +
	`ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }`

// Strings of services may have any bytes: encoding/json must decode them to the same text.
func FuzzStrings(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "é☀\U0001f600", "\xff\xc3(", "\u2028<>&",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := newHandler(
			t,
			graph.Config{Feed: always(feed.Page{Items: []feed.Item{{Post: &feed.Post{ID: text, Caption: text}}}})},
		)
		a := ask(t, h, query("{feed{posts{id caption}}}", nil))
		want := strings.ToValidUTF8(text, "\ufffd")
		if !utf8.ValidString(text) { // each invalid byte is replaced separately
			want = string([]rune(text))
		}
		if got := *a.Data.Feed.Posts[0].ID; got != want {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// Any query is answered without a panic.
func FuzzQueries(f *testing.F) {
	for _, seed := range []string{
		k6Query,
		wholeQuery,
		introspectionQuery,
		"{a:feed(limit:$x){posts{...f}}} fragment f on Post{...f}",
		"mutation{batchLike(postIds:[{}]){success}}",
		"query($a:[String!]={}){feed{cursor}}",
	} {
		f.Add(seed, `{"limit":20}`)
	}
	var handlers []*graph.Handler
	for _, dev := range []bool{true, false} {
		handlers = append(handlers, newHandler(f, graph.Config{Dev: dev, Feed: pages{
			page: func(context.Context, feed.Query) (feed.Page, error) { return twenty(), nil },
			like: func(context.Context, feed.Likes) error { return nil },
		}, User: func(*httpRequest) (string, error) { return "u", nil }}))
	}
	f.Fuzz(func(t *testing.T, text, variables string) {
		if !json.Valid([]byte(variables)) {
			variables = "null"
		}
		body, _ := json.Marshal(map[string]any{"query": text, "variables": json.RawMessage(variables)})
		for _, h := range handlers {
			if a := ask(t, h, string(body)); a.status >= 500 {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
	})
}

// stalled is a body that stops before its end.
type stalled struct {
	text  io.Reader
	begun chan struct{} // closed when all of text was read
	leave chan struct{}
	once  sync.Once
}

func (s *stalled) Read(p []byte) (int, error) {
	n, err := s.text.Read(p)
	if err == io.EOF {
		s.once.Do(func() { close(s.begun) })
		<-s.leave
	}
	return n, err
}

func TestHandler_ServeHTTP_BodyNotRead(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: always(twenty())})
	for err, status := range map[error]int{
		os.ErrDeadlineExceeded: http.StatusRequestTimeout,
		io.ErrUnexpectedEOF:    http.StatusBadRequest,
	} {
		body := io.MultiReader(strings.NewReader(`{"query":`), iotest.ErrReader(fmt.Errorf("read: %w", err)))
		r := httptest.NewRequest(http.MethodPost, "/graphql", body)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%v: status %d, want %d", err, w.Code, status)
		}
	}
}

// While bodies of slow clients hold memory, small bodies still fit. Slow clients release theirs at
// the end.
func TestHandler_ServeHTTP_BodiesMemory(t *testing.T) {
	h := newHandler(t, graph.Config{Feed: always(twenty())})
	large := query("{feed{posts{id}}}"+strings.Repeat(" ", 10<<10), map[string]any{"a": strings.Repeat("a", 40<<10)})
	leave := make(chan struct{})
	var waiting sync.WaitGroup
	held := 0
	for {
		body := &stalled{text: strings.NewReader(large), begun: make(chan struct{}), leave: leave}
		answered := make(chan int, 1)
		waiting.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/graphql", body)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			answered <- w.Code
		})
		select {
		case <-body.begun:
			if held++; held<<16 > 16<<20 {
				t.Fatalf("%d bodies of 64 KiB are being read", held)
			}
			continue
		case code := <-answered:
			if code != http.StatusServiceUnavailable {
				t.Errorf("status %d", code)
			}
		}
		break
	}
	if held < 100 {
		t.Errorf("%d bodies of 64 KiB are too many", held)
	}
	if a := ask(t, h, query("{feed{posts{id}}}", nil)); a.codes() != "" {
		t.Errorf("a small body beside %d large ones: %.300s", held, a.body)
	}
	close(leave)
	waiting.Wait()
	if a := ask(t, h, large); a.codes() != "" {
		t.Errorf("afterwards a large body is refused: %.300s", a.body)
	}
}
