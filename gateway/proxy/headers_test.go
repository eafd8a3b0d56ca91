package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/proxy"
)

func TestProxy_RemovesBodyHeaders(t *testing.T) {
	s := stand(t, answering("application/json", before(), "Content-MD5: x", "Digest: x", "Content-Digest: x",
		"Repr-Digest: x", "Accept-Ranges: bytes", "Cache-Control: max-age=5"), nil)
	resp := s.do("GET", "/", "")
	for _, name := range []string{
		"Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges",
	} {
		if got := resp.Header.Get(name); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if resp.Header.Get("Cache-Control") != "max-age=5" {
		t.Error("Cache-Control is gone")
	}
}

func TestProxy_Vary(t *testing.T) {
	for vary, want := range map[string]string{
		"*":                      "*",
		"user-agent":             "user-agent, X-Image-Client",
		"Accept, X-Image-Client": "Accept, X-Image-Client, User-Agent",
		"":                       "User-Agent, X-Image-Client",
	} {
		headers := []string{"Vary: " + vary}
		if vary == "" {
			headers = nil
		}
		s := stand(t, answering("application/json", "{}", headers...), nil)
		if got := s.do("GET", "/", "").Header.Get("Vary"); got != want {
			t.Errorf("%s became %s, not %s", vary, got, want)
		}
	}
}

func TestProxy_HEAD(t *testing.T) {
	s := stand(t, answering("application/json", before(), `ETag: "v1"`), nil)
	get, head := s.do("GET", "/", ""), s.do("HEAD", "/", "")
	for _, name := range []string{"Etag", "Vary", "Content-Type", "Accept-Ranges"} {
		if get.Header.Get(name) != head.Header.Get(name) {
			t.Errorf("%s: %q, HEAD %q", name, get.Header.Get(name), head.Header.Get(name))
		}
	}
	if got := head.Header.Get("Content-Length"); got != "" { // only known once a body is rewritten
		t.Errorf("HEAD has the service's Content-Length: %s", got)
	}
	if body := text(t, head); body != "" || head.StatusCode != 200 {
		t.Errorf("HEAD is %d with %q", head.StatusCode, body)
	}
}

func TestProxy_Status(t *testing.T) {
	for _, status := range []int{201, 204, 205, 301, 400, 404, 422, 500, 503} {
		s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			if status != 204 && status != 205 {
				io.WriteString(w, before())
			}
		}, nil)
		resp := s.do("GET", "/", "")
		want := after(t)
		if status == 204 || status == 205 {
			want = ""
		}
		if got := text(t, resp); resp.StatusCode != status || got != want {
			t.Errorf("%d became %d with %s", status, resp.StatusCode, got)
		}
	}
}

func TestProxy_Range(t *testing.T) {
	var asked http.Header
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Range", "bytes 0-10/1000")
		w.WriteHeader(http.StatusPartialContent)
		io.WriteString(w, before())
	}, nil)
	resp := s.do("GET", "/", "", "Range: bytes=5-", `If-Range: "v1"`)
	if asked.Get("Range") != "" || asked.Get("If-Range") != "" {
		t.Errorf("the service received the headers %v", asked)
	}
	if got := text(t, resp); resp.StatusCode != 206 || got != before() {
		t.Errorf("206 became %d with %s", resp.StatusCode, got)
	}
}

func TestProxy_ETag(t *testing.T) {
	var asked http.Header
	tag := `"v,1"`
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", tag)
		http.ServeContent(w, r, "", zeroTime, strings.NewReader(before()))
	}, nil)
	for _, tag = range []string{`"v,1"`, `W/"v1"`, `""`} {
		first := s.do("GET", "/", "")
		derived := first.Header.Get("Etag")
		if derived == tag || !strings.HasPrefix(derived, `W/"`) {
			t.Fatalf("%s became %s", tag, derived)
		}
		text(t, first)
		for _, sent := range []string{derived, `"other", ` + derived, derived + `,W/"other"`} {
			again := s.do("GET", "/", "", "If-None-Match: "+sent)
			if again.StatusCode != 304 || again.Header.Get("Etag") != derived ||
				!strings.Contains(again.Header.Get("Vary"), "User-Agent") {
				t.Errorf("If-None-Match: %s is %d %v (the service was asked with %s)",
					sent, again.StatusCode, again.Header, asked.Get("If-None-Match"))
			}
		}
		// Another class of clients gets another body.
		again := s.do("GET", "/", "", "If-None-Match: "+derived, "X-Image-Client: jpg@1x")
		if again.StatusCode != 200 || asked.Get("If-None-Match") != "" || again.Header.Get("Etag") == derived {
			t.Errorf("another class of clients got status %d; the service received %v", again.StatusCode, asked)
		}
	}
	tag = `"v2"`
	text(t, s.do("GET", "/", "", `If-None-Match: *`))
	if asked.Get("If-None-Match") != "*" {
		t.Errorf("* became %q", asked.Get("If-None-Match"))
	}
	derived := s.do("GET", "/", "").Header.Get("Etag")
	if resp := s.do("PUT", "/", "", "If-Match: "+derived); resp.StatusCode == 412 || asked.Get("If-Match") != tag {
		t.Errorf("If-Match: %s became %s, answered %d", derived, asked.Get("If-Match"), resp.StatusCode)
	}
}

func TestProxy_ETag_Salt(t *testing.T) {
	service := answering("application/json", before(), `ETag: "v1"`)
	one := stand(t, service, func(c *proxy.Config) { c.Salt = "one" }).do("GET", "/", "").Header.Get("Etag")
	same := stand(t, service, func(c *proxy.Config) { c.Salt = "one" }).do("GET", "/", "").Header.Get("Etag")
	two := stand(t, service, func(c *proxy.Config) { c.Salt = "two" }).do("GET", "/", "").Header.Get("Etag")
	// A 304 must not renew URLs that expire before their full lifetime.
	until := func(window time.Duration) string {
		return stand(t, service, func(c *proxy.Config) {
			c.Salt = "one"
			c.Linker = newLinker(t, func(c *imagelink.Config) { c.Lifetime, c.Window = time.Hour, window })
		}).do("GET", "/", "").Header.Get("Etag")
	}
	day, month := until(0), until(30*24*time.Hour)
	if one != same || one == two || day == one || day == month {
		t.Errorf("the tags are %s, %s, %s, %s and %s", one, same, two, day, month)
	}
}

// Caches must not keep an answer for longer than the image URLs in it are valid.
func TestProxy_Freshness_EndsBeforeURLs(t *testing.T) {
	lasting := func(headers ...string) (http.HandlerFunc, func(*proxy.Config)) {
		return answering("application/json", before(), headers...), func(c *proxy.Config) {
			c.Linker = newLinker(t, func(c *imagelink.Config) { c.Lifetime, c.Window = 2*time.Hour, time.Second })
		}
	}
	for in, want := range map[string]string{
		"Cache-Control: max-age=604800, public":                                 "max-age=3600, public",
		"Cache-Control: private, S-MaxAge=\"604800\", max-age=60, immutable":    "private, s-maxage=3600, max-age=60",
		"Cache-Control: max-age=99999999999999999999999":                        "max-age=3600",
		"Cache-Control: max-age=10, stale-while-revalidate=9, stale-if-error=9": "max-age=10",
		"Cache-Control: no-cache=\"a, b\", max-age=5000":                        "no-cache=\"a, b\", max-age=3600",
		"Cache-Control: max-age=soon, no-store":                                 "max-age=soon, no-store",
		"Cache-Control: immutable":                                              "",
		"Surrogate-Control: max-age=5000":                                       "max-age=3600",
		"CDN-Cache-Control: max-age=5000":                                       "max-age=3600",
		"Expires: 0":                                                            "0",
	} {
		name, _, _ := strings.Cut(in, ":")
		service, configure := lasting(in)
		if got := stand(t, service, configure).do("GET", "/", "").Header.Get(name); got != want {
			t.Errorf("%s became %q, want %q", in, got, want)
		}
		if got := stand(t, service, nil).do("GET", "/", "").Header.Get(name); got != in[len(name)+2:] {
			t.Errorf("%s became %q where URLs do not expire", in, got)
		}
	}
	for _, ahead := range []time.Duration{time.Minute, 24 * time.Hour} {
		service, configure := lasting("Expires: " + time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		until, err := http.ParseTime(stand(t, service, configure).do("GET", "/", "").Header.Get("Expires"))
		want := min(ahead, time.Hour)
		if left := time.Until(until); err != nil || left > want+time.Second || left < want-time.Minute {
			t.Errorf("%v ahead became %v, %v; want %v", ahead, left, err, want)
		}
	}
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=604800")
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", zeroTime, strings.NewReader(before()))
	}, func(c *proxy.Config) {
		c.Linker = newLinker(t, func(c *imagelink.Config) { c.Lifetime, c.Window = 2*time.Hour, 24*time.Hour })
	})
	tag := s.do("GET", "/", "").Header.Get("Etag")
	again := s.do("GET", "/", "", "If-None-Match: "+tag)
	if cc := again.Header.Get("Cache-Control"); again.StatusCode != 304 || cc == "max-age=604800" || cc == "" {
		t.Errorf("%d with %q, want 304 with less", again.StatusCode, cc)
	}
}

func TestProxy_NotModified(t *testing.T) {
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Type", "image/png")
		http.ServeContent(w, r, "", zeroTime, strings.NewReader("png"))
	}, nil)
	resp := s.do("GET", "/", "", `If-None-Match: "v1"`)
	if resp.StatusCode != 304 || resp.Header.Get("Etag") != `"v1"` || resp.Header.Get("Vary") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}
