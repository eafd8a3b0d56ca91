package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// everything has every field name of the queries below.
const everything = `{"imageUrl":"https://cdn.app.example/a.jpg","pic":"https://cdn.app.example/a.jpg","small":"","caption":"https://cdn.app.example/a.jpg"}`

// changed returns the names in everything that were signed.
func changed(t *testing.T, body string) string {
	t.Helper()
	var members map[string]string
	if err := json.Unmarshal([]byte(body), &members); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	var names []string
	for _, name := range []string{"imageUrl", "pic", "small", "caption"} {
		if members[name] == signed(t, "a.jpg") {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func TestProxy_Aliases(t *testing.T) {
	for query, want := range map[string]string{
		`{feed{posts{imageUrl}}}`:                                                       "imageUrl",
		`{feed{posts{pic:imageUrl small:thumbnailUrl}}}`:                                "imageUrl pic small",
		`query Q($n:Int){feed(limit:$n){posts{...P}}} fragment P on Post{pic:imageUrl}`: "imageUrl pic",
		`{feed{posts{... on Post{pic:imageUrl}}}}`:                                      "imageUrl pic",
		`{feed{posts{imageUrl:caption caption}}}`:                                       "",
		`{feed{posts{imageUrl:caption} x:posts{imageUrl}}}`:                             "imageUrl",
		`{feed{posts{caption:imageUrl imageUrl:caption}}}`:                              "caption",
		`query A{feed{pic:imageUrl}} query B{feed{small:thumbnailUrl}}`:                 "imageUrl pic small",
		`subscription{posted{pic:imageUrl}}`:                                            "imageUrl pic",
		// The service reports the error.
		`{feed{posts{imageUrl`: "imageUrl",
	} {
		s := stand(t, answering("application/json", everything), nil)
		body, _ := json.Marshal(map[string]any{"query": query, "variables": map[string]int{"n": 20}})
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		_ = w.WriteField("operations", string(body))
		_ = w.WriteField("map", "{}")
		w.Close()
		for name, resp := range map[string]*http.Response{
			"JSON":  s.do("POST", "/graphql", string(body), "Content-Type: application/json; charset=utf-8"),
			"again": s.do("POST", "/graphql", string(body), "Content-Type: application/graphql-request+json"),
			"batch": s.do("POST", "/graphql", " [{\"query\":\"{a}\"},"+string(body)+"]",
				"Content-Type: application/json"),
			"plain":  s.do("POST", "/graphql", query, "Content-Type: application/graphql"),
			"GET":    s.do("GET", "/graphql?query="+url.QueryEscape(query), ""),
			"upload": s.do("POST", "/graphql", form.String(), "Content-Type: "+w.FormDataContentType()),
		} {
			want := want
			if name == "batch" && !strings.Contains(want, "imageUrl") && strings.Contains(query, ":caption") {
				want = strings.TrimSpace("imageUrl " + want) // the other operation of the batch may ask for it
			}
			if got := changed(t, text(t, resp)); got != want {
				t.Errorf("%s by %s: %q is signed, not %q", query, name, got, want)
			}
		}
	}
}

func TestProxy_PersistedQuery(t *testing.T) {
	s := stand(t, answering("application/json", everything), nil)
	const query = `{feed{posts{pic:imageUrl}}}`
	persisted := fmt.Sprintf(`{"persistedQuery":{"version":1,"sha256Hash":"%x"}}`, sha256.Sum256([]byte(query)))
	ask := func() string {
		byPost := changed(t,
			text(t, s.do("POST", "/graphql", `{"extensions":`+persisted+`}`, "Content-Type: application/json")))
		byGet := changed(t, text(t, s.do("GET", "/graphql?extensions="+url.QueryEscape(persisted), "")))
		if byPost != byGet {
			t.Errorf("by POST %q, by GET %q", byPost, byGet)
		}
		return byGet
	}
	if got := ask(); got != "imageUrl" {
		t.Errorf("before: %q", got)
	}
	text(t, s.do("POST", "/graphql", fmt.Sprintf(`{"query":%q,"extensions":%s}`, query, persisted),
		"Content-Type: application/json"))
	if got := ask(); got != "imageUrl pic" {
		t.Errorf("after: %q", got)
	}
}

// The answer of a gateway that does not know the aliases of a persisted query must not be confirmed by
// one that does.
func TestProxy_PersistedQuery_ETag(t *testing.T) {
	service := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "", zeroTime, strings.NewReader(everything))
	}
	for query, confirmed := range map[string]bool{
		`{feed{posts{pic:imageUrl}}}`: false,
		`{feed{posts{imageUrl}}}`:     true,
	} {
		one, two := stand(t, service, nil), stand(t, service, nil)
		hash := fmt.Sprintf(`{"persistedQuery":{"version":1,"sha256Hash":"%x"}}`, sha256.Sum256([]byte(query)))
		url := "/graphql?extensions=" + url.QueryEscape(hash)
		unknown := one.do("GET", url, "").Header.Get("Etag")
		text(t, two.do("POST", "/graphql", fmt.Sprintf(`{"query":%q}`, query), "Content-Type: application/json"))
		if got := two.do("GET", url, "", "If-None-Match: "+unknown).StatusCode == 304; got != confirmed {
			t.Errorf("%s: the other gateway's answer is confirmed: %v", query, got)
		}
		known := two.do("GET", url, "")
		if two.do("GET", url, "", "If-None-Match: "+known.Header.Get("Etag")).StatusCode != 304 {
			t.Errorf("%s: its own answer is not confirmed", query)
		}
	}
}

func TestProxy_OtherBody(t *testing.T) {
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"imageUrl":"https://cdn.app.example/a.jpg","length":"%d"}`, len(b))
	}, nil)
	for _, body := range []string{
		`{"query":1}`, `[1]`, `[`, `"x"`, "\xff",
		`{"query":"` + strings.Repeat("{a", 100_000) + `"}`,
		`{"query":"{` + strings.Repeat("a ", 200_000) + `}"}`,
	} {
		for _, contentType := range []string{
			"application/json", "multipart/form-data; boundary=x",
			"multipart/form-data", "application/graphql", "text/plain",
		} {
			got := text(t, s.do("POST", "/", body, "Content-Type: "+contentType))
			if want := fmt.Sprintf(`{"imageUrl":%q,"length":"%d"}`, signed(t, "a.jpg"), len(body)); got != want {
				t.Errorf("%.40q as %s: %s, not %s", body, contentType, got, want)
			}
		}
	}
}

func TestProxy_TruncatedQuery(t *testing.T) {
	s := stand(t, func(http.ResponseWriter, *http.Request) { t.Error("the service was asked") }, nil)
	// An invalid chunk.
	conn := dial(t, s.url)
	io.WriteString(conn,
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	answer, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("got %.100s, want status 400", answer)
	}
}
