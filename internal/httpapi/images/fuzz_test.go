package images

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/resize"
)

// The grammar of RFC 9110 (8.8.3, 13.1 and 14.2). For other values, two lenient parsers may differ.
var (
	aTagList = regexp.MustCompile(
		`^[ \t,]*((W/)?"[!#-~\x80-\xff]*"([ \t]*,[ \t,]*((W/)?"[!#-~\x80-\xff]*"|$))*)?[ \t,]*$`,
	)
	aTag      = regexp.MustCompile(`^(W/)?"[!#-~\x80-\xff]*"$`)
	oneRange  = regexp.MustCompile(`^bytes=(([0-9]+)-([0-9]*)|-([0-9]+))$`)
	noSuffix  = regexp.MustCompile(`^bytes=-0+$`)
	hugeRange = regexp.MustCompile(`[0-9]{18,}`)
)

// Ranges and conditions are answered as http.ServeContent does, with three exceptions: several
// ranges are answered with the whole, a malformed range is ignored instead of refused, and so is a
// range of the last 0 bytes.
func FuzzHandler_Conditions_AgreeWithServeContent(f *testing.F) {
	for _, seed := range [][6]string{
		{"bytes=2-4", "", "", "", "", ""},
		{"bytes=-3", `"tag"`, "", "", "", ""},
		{"bytes=7-", `W/"tag"`, "", "", "", ""},
		{"bytes=9-99", "Fri, 20 Nov 2026 08:30:15 GMT", "", "", "", ""},
		{"bytes=10-", "", "", "", "", ""},
		{"bytes=0-1,3-4", "", "", "", "", ""},
		{"bytes= 1 - 2 ", "", "", "", "", ""},
		{"", "", `"a", W/"tag"`, "", "", ""},
		{"", "", `*`, "", "", ""},
		{"bytes=1-2", "", `"a"`, "Fri, 20 Nov 2026 08:30:15 GMT", "", ""},
		{"", "", "", "Fri, 20 Nov 2026 08:30:16 GMT", "", ""},
		{"", "", "", "Friday, 20-Nov-26 08:30:14 GMT", "", ""},
		{"", "", "", "", `"tag"`, ""},
		{"", "", "", "", `W/"tag"`, "Fri Nov 20 08:30:14 2026"},
		{"", "", "", "", "", "Fri, 20 Nov 2026 08:30:14 GMT"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5])
	}
	cache := newFakeCache()
	h := New(publicConfig(f, cache))
	target := apitest.SignBytes(f, "/640x480/v.1/posts/cat.jpg.webp")
	f.Fuzz(func(t *testing.T, rng, ifRange, ifNoneMatch, ifModified, ifMatch, ifUnmodified string) {
		for _, tags := range []string{ifNoneMatch, ifMatch} {
			if tags != "*" && !aTagList.MatchString(tags) {
				return
			}
		}
		if ifRange = strings.Trim(ifRange, " \t\r\n"); ifRange != "" && !strings.Contains(ifRange, `"`) {
			return // a date: never obeyed here
		}
		if strings.Contains(ifRange, `"`) && !aTag.MatchString(strings.Trim(ifRange, " \t\r\n")) {
			return
		}
		request := func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			for name, value := range map[string]string{"Range": rng, "If-Range": ifRange, "If-None-Match": ifNoneMatch,
				"If-Modified-Since": ifModified, "If-Match": ifMatch, "If-Unmodified-Since": ifUnmodified} {
				if value = strings.Trim(value, " \t\r\n"); value != "" { // as net/http reads it
					r.Header.Set(name, value)
				}
			}
			return r
		}
		got, want := httptest.NewRecorder(), httptest.NewRecorder()
		h.ServeHTTP(got, request())
		want.Header().Set("Etag", cache.img.ETag)
		want.Header().Set("Content-Type", "image/webp")
		http.ServeContent(want, request(), "", cache.img.LastModified, bytes.NewReader(cache.img.Body))

		if comparable := comparableRange(strings.Trim(rng, " \t\r\n")); !comparable &&
			want.Code != http.StatusNotModified &&
			want.Code != http.StatusPreconditionFailed {
			if got.Code != http.StatusOK && got.Code != http.StatusPartialContent &&
				got.Code != http.StatusRequestedRangeNotSatisfiable ||
				got.Code == http.StatusOK && got.Body.String() != string(cache.img.Body) {
				t.Errorf("%v: %d %q", request().Header, got.Code, got.Body)
			}
			return
		}
		if got.Code != want.Code {
			t.Fatalf("%v: %d, want %d", request().Header, got.Code, want.Code)
		}
		if got.Code < 300 && got.Body.String() != want.Body.String() {
			t.Errorf("%v: %q, want %q", request().Header, got.Body, want.Body)
		}
		if got.Header().Get("Content-Range") != want.Header().Get("Content-Range") {
			t.Errorf("%v: Content-Range %q, want %q",
				request().Header, got.Header().Get("Content-Range"), want.Header().Get("Content-Range"))
		}
	})
}

// comparableRange reports whether a Range is missing, or means the same to ServeContent and to this
// package.
func comparableRange(r string) bool {
	m := oneRange.FindStringSubmatch(r)
	if m == nil {
		return r == ""
	}
	first, _ := strconv.ParseInt(m[2], 10, 64)
	last, err := strconv.ParseInt(m[3], 10, 64)
	return !noSuffix.MatchString(r) && !hugeRange.MatchString(r) && (err != nil || first <= last)
}

// plainAccept is an Accept without quoted strings, which can be parsed by splitting at commas and
// semicolons.
var plainAccept = func() *regexp.Regexp {
	const (
		token  = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
		ows    = `[ \t]*`
		param  = ows + ";" + ows + "(" + token + "=" + token + ")?"
		member = token + "/" + token + "(" + param + ")*"
	)
	return regexp.MustCompile("^" + ows + "(" + member + ")?(" + ows + "," + ows + "(" + member + ")?)*" + ows + "$")
}()

var qvalue = regexp.MustCompile(`^(0(\.[0-9]{0,3})?|1(\.0{0,3})?)$`)

// splitAccept does what negotiate does, simply by strings.Split.
func splitAccept(accept string) resize.Format {
	best := resize.JPEG
	for _, member := range strings.Split(accept, ",") {
		parts := strings.Split(member, ";")
		q, weighed := "1", false
		for _, param := range parts[1:] {
			name, value, _ := strings.Cut(strings.Trim(param, " \t"), "=")
			if !strings.EqualFold(name, "q") {
				continue
			}
			if weighed || !qvalue.MatchString(value) {
				return resize.JPEG
			}
			q, weighed = value, true
		}
		if strings.Trim(q, "0.") == "" {
			continue
		}
		switch strings.ToLower(strings.Trim(parts[0], " \t")) {
		case "image/avif":
			best = resize.AVIF
		case "image/webp":
			if best == resize.JPEG {
				best = resize.WebP
			}
		}
	}
	return best
}

func FuzzNegotiate_Accept_AgreesWithGrammar(f *testing.F) {
	for _, seed := range []string{
		"", "*/*", "image/*,*/*;q=0.8", "image/avif,image/webp,*/*",
		"image/avif;q=0,image/webp", "image/avif;q=0.000, image/webp;q=1.000",
		"image/webp;q=2", "image/webp;q=0.0001", "IMAGE/AVIF ; Q=0.5",
		"image/avif;v=b3;q=0.7", `image/avif;x="a,image/webp;q=0"`, `image/webp;x="\""`,
		",,image/webp,", "image/webp;;q=1", "image/webp;q=1;q=0",
		"image/avif image/webp", "image/avif/webp", "image/webp;q", "image/webp;q=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got := negotiate([]string{accept})
		if got != resize.AVIF && got != resize.WebP && got != resize.JPEG {
			t.Fatalf("%q gives %v", accept, got)
		}
		if !strings.Contains(strings.ToLower(accept), "image/"+got.String()) && got != resize.JPEG {
			t.Errorf("%q gives %v, which it does not name", accept, got)
		}
		switch {
		case plainAccept.MatchString(accept):
			if want := splitAccept(accept); got != want {
				t.Errorf("%q gives %v, want %v", accept, got, want)
			}
		case !strings.Contains(accept, `"`):
			if got != resize.JPEG {
				t.Errorf("%q is no Accept and gives %v", accept, got)
			}
		}
		// Two header lines are one list.
		if plainAccept.MatchString(accept) &&
			negotiate([]string{accept, "image/webp"}) != negotiate([]string{accept + ",image/webp"}) {
			t.Errorf("%q: two header lines give another result than one", accept)
		}
	})
}

// No request of a client causes a 5xx.
func FuzzHandler_ServeHTTP(f *testing.F) {
	apitest.AddTargets(f)
	h := New(publicConfig(f, newFakeCache()))
	f.Fuzz(func(t *testing.T, method, target, name, value string) {
		apitest.CheckAnswered(t, h, method, target, name, value)
	})
}

func BenchmarkHit(b *testing.B) {
	cache := newFakeCache()
	cache.img.Body = make([]byte, 20<<10)
	signer := apitest.NewSigner(b)
	for name, change := range map[string]func(*Config, *http.Request){
		"plain":       func(*Config, *http.Request) {},
		"logged":      func(cfg *Config, _ *http.Request) { cfg.Log = slog.New(slog.NewJSONHandler(discard{}, nil)) },
		"auto":        func(*Config, *http.Request) {},
		"range":       func(_ *Config, r *http.Request) { r.Header.Set("Range", "bytes=100-199") },
		"notmodified": func(_ *Config, r *http.Request) { r.Header.Set("If-None-Match", `"tag"`) },
	} {
		b.Run(name, func(b *testing.B) {
			cfg := publicConfig(b, &constant{img: cache.img, out: cache.out})
			cfg.Signer = signer
			cfg.Observe = func(metrics.Observation) {}
			target := apitest.SignBytes(b, "/640x640-cover-q70/v.1/posts/2026/11/abc.jpg.webp")
			if name == "auto" {
				target = apitest.SignBytes(b, "/640x640-cover-q70/v.1/posts/2026/11/abc.jpg.auto")
			}
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.Header.Set("Accept", "image/avif,image/webp,image/*,*/*;q=0.8")
			change(&cfg, r)
			h := New(cfg)
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if w.status >= 400 {
				b.Fatal(w.status)
			}
		})
	}
}
