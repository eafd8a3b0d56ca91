package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/tiertest"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpapi/images"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/weborigin"
	"github.com/novasocial/imagetier/resize"
)

// The cases of testdata/rfc9111.txt: an HTTP origin that follows a script, the tier
// before it, and a client. Only the clock is the test's own. Lines are
//
//	== name             begins a case
//	origin ANSWER | Header: value | …    what the origin answers from now on. ANSWER is A or B
//	                    (two pictures), a status, or cut, reset, junk. {N} in a value is the
//	                    date N seconds from the moment of the answer, {=N} from the case's start.
//	                    Without Date it is {0}; "Date:" leaves it out. A request whose
//	                    condition holds is answered 304 with the same headers.
//	on304 | Header: value | …            headers of a 304 instead of those
//	no304               conditions are ignored
//	+N                  N seconds pass
//	get DETAIL k=v …    one request, and what must come back: DETAIL is the detail of
//	                    Cache-Status (none: there is no Cache-Status); v may be in [brackets].
//	                    status (200), body (A, B), age, cc (Cache-Control), cs (Cache-Status),
//	                    etag (SHA256: of the body), date,
//	                    asked (requests the origin has had), sent (whether the last one had
//	                    the condition etag, date, both, none). What follows as Name:value is a
//	                    request header; shape=orig, name=…, version=… change the URL.
//	until DETAIL [asked=N]  repeats the request until its detail is that, and the origin has had
//	                    N requests: for what goes on in the background
//	purge               purges the original
func TestServer_Freshness_FollowsRFC9111(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server for each case")
	}
	cases := readCases(t, "testdata/rfc9111.txt")
	if len(cases) < 150 {
		t.Errorf("%d cases, at least 150 are promised", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newStory(t)
			s.url = "http://" + serveImages(t, httpserver.Config{Responder: s.images})
			s.tell(c.lines)
		})
		t.Run(c.name+" by net/http", func(t *testing.T) {
			s := newStory(t)
			s.url = "http://" + serveImages(t, httpserver.Config{Handler: s.images})
			s.tell(c.lines)
		})
	}
}

func serveImages(t *testing.T, cfg httpserver.Config) (addr string) {
	t.Helper()
	s, err := httpserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Serve(t, s.Run)
}

type story struct {
	t      *testing.T
	start  time.Time
	origin scripted
	images *images.Handler
	url    string // of the tier
	cache  *imagecache.Cache

	originals tiertest.Map

	mu  sync.Mutex
	now time.Time
}

func newStory(t *testing.T) *story {
	s := &story{t: t, start: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	s.now, s.origin.now = s.start, s.clock
	s.origin.start = s.start
	server := httptest.NewServer(&s.origin)
	t.Cleanup(server.Close)
	src, err := weborigin.New(
		weborigin.Config{Base: server.URL + "/", AllowPrivate: true, MaxHeuristic: 24 * time.Hour, Now: s.clock},
	)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := imageurl.NewDevSigner()
	if err != nil {
		t.Fatal(err)
	}
	s.cache = imagecache.New(imagecache.Config{
		Layers:    []imagecache.Layer{{Tier: &tiertest.Map{}, Name: imagecache.Memory}},
		Originals: &s.originals,
		Filler: fill.New(fill.Config{
			Sources: map[string]origin.Source{"web": src}, Resizer: stamp{}, Originals: &s.originals, Now: s.clock,
			LiveTTL: 24 * time.Hour, StaleIfError: 7 * 24 * time.Hour,
		}),
		NegativeTTL: 10 * time.Second, StaleIfError: 7 * 24 * time.Hour, Now: s.clock,
	})
	s.images = images.New(images.Config{
		Signer: signer, Cache: s.cache, Now: s.clock, NegativeTTL: 10 * time.Second,
		Catalog: httpapi.Catalog{Sources: map[string]httpapi.Source{"web": {Originals: true}}},
	})
	return s
}

func (s *story) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *story) tell(lines []string) {
	for _, line := range lines {
		verb, rest, _ := strings.Cut(line, " ")
		switch {
		case verb == "origin":
			s.origin.script(rest)
		case verb == "on304":
			s.origin.set(func(o *scripted) { o.on304 = headerLines(rest) })
		case verb == "no304":
			s.origin.set(func(o *scripted) { o.never304 = true })
		case verb == "get":
			s.get(line, strings.TrimSpace(rest))
		case verb == "until":
			s.until(rest)
		case verb == "purge":
			target := imagecache.Target{Original: imagecache.Original{Source: "web", Name: "a.png"}}
			if _, err := s.cache.Purge(s.t.Context(), target); err != nil {
				s.t.Fatal(err)
			}
		case verb[0] == '+':
			n, err := strconv.Atoi(verb[1:])
			if err != nil {
				s.t.Fatalf("%s: %v", line, err)
			}
			s.mu.Lock()
			s.now = s.now.Add(time.Duration(n) * time.Second)
			s.mu.Unlock()
		default:
			s.t.Fatalf("no such line: %s", line)
		}
	}
}

var detailOf = regexp.MustCompile(`detail=([a-z]+)`)

func (s *story) request(want map[string]string, headers http.Header) (*http.Response, string) {
	s.t.Helper()
	shape, version, name, suffix := "10x", "live", "a.png", ".webp"
	if v, ok := want["shape"]; ok {
		if shape = v; v == "orig" {
			suffix = ""
		}
	}
	if v, ok := want["version"]; ok {
		version = v
	}
	if v, ok := want["name"]; ok {
		name = v
	}
	ref, err := imageurl.ParseRef("/" + shape + "/" + version + "/web/" + name + suffix)
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/i/_"+ref.String(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = headers
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return resp, body.String()
}

func detail(resp *http.Response) string {
	if m := detailOf.FindStringSubmatch(resp.Header.Get("Cache-Status")); m != nil {
		return m[1]
	}
	return "none"
}

// waitKept waits until an original is stored, which happens after the request that has fetched it is answered.
func (s *story) waitKept() {
	s.t.Helper()
	for range 2000 {
		if len(s.originals.Images()) > 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	s.t.Error("no original is stored")
}

// get makes one request and compares what came with what the line says.
func (s *story) get(line, rest string) {
	s.t.Helper()
	want, headers := options(rest)
	if want["detail"] == "original" || want["detail"] == "disk" {
		s.waitKept()
	}
	resp, body := s.request(want, headers)
	asked, sent := s.origin.seen()
	if want["status"] == "" {
		want["status"] = "200"
	}
	got := map[string]string{
		"detail": detail(resp), "status": strconv.Itoa(resp.StatusCode), "age": resp.Header.Get("Age"),
		"cc": resp.Header.Get(
			"Cache-Control",
		), "cs": strings.TrimPrefix(resp.Header.Get("Cache-Status"), "imagetier; "),
		"etag": resp.Header.Get("Etag"), "date": resp.Header.Get("Date"),
		"asked": strconv.Itoa(asked), "sent": sent, "body": body[:min(1, len(body))], "vary": resp.Header.Get("Vary"),
	}
	if want["etag"] == "SHA256" {
		sum := sha256.Sum256([]byte(body))
		want["etag"] = fmt.Sprintf(`"%x"`, sum[:16])
	}
	for key, value := range want {
		value = s.origin.dates(value)
		if have, known := got[key]; known && have != value {
			s.t.Errorf("%s\n\t%s is %q, want %q (%s, Cache-Status: %s)",
				line, key, have, value, resp.Status, resp.Header.Get("Cache-Status"))
		}
	}
}

func (s *story) until(rest string) {
	s.t.Helper()
	want, headers := options(rest)
	for range 2000 {
		resp, _ := s.request(want, headers)
		asked, _ := s.origin.seen()
		if detail(resp) == want["detail"] && (want["asked"] == "" || want["asked"] == strconv.Itoa(asked)) {
			return
		}
		time.Sleep(time.Millisecond) // the revalidation runs in another goroutine, behind two sockets
	}
	s.t.Errorf("waited for an answer %s", rest)
}

// options reads "DETAIL k=v k=[v v] Header:value".
func options(rest string) (map[string]string, http.Header) {
	want, headers := map[string]string{}, http.Header{}
	for i, word := range regexp.MustCompile(`[^\s\[]*\[[^\]]*\]|\S+`).FindAllString(rest, -1) {
		key, value, isOption := strings.Cut(word, "=")
		name, header, isHeader := strings.Cut(word, ":")
		switch {
		case i == 0:
			want["detail"] = word
		case isHeader && (!isOption || len(name) < len(key)):
			headers.Add(name, strings.Trim(header, "[]"))
		default:
			want[key] = strings.Trim(value, "[]")
		}
	}
	return want, headers
}

type freshnessCase struct {
	name  string
	lines []string
}

func readCases(t *testing.T, file string) (cases []freshnessCase) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "== "):
			cases = append(cases, freshnessCase{name: line[3:]})
		default:
			cases[len(cases)-1].lines = append(cases[len(cases)-1].lines, line)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return cases
}

// scripted is the origin.
type scripted struct {
	now   func() time.Time
	start time.Time

	mu       sync.Mutex
	answer   string
	headers  [][2]string
	on304    [][2]string
	never304 bool
	asked    int
	sent     string
}

func (o *scripted) set(change func(*scripted)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *scripted) seen() (int, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked, o.sent
}

func (o *scripted) script(line string) {
	answer, rest, _ := strings.Cut(line, "|")
	o.set(func(o *scripted) {
		o.answer, o.headers, o.on304, o.never304 = strings.TrimSpace(answer), headerLines(rest), nil, false
	})
}

func headerLines(s string) (lines [][2]string) {
	for _, line := range strings.Split(s, "|") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			lines = append(lines, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
		}
	}
	return lines
}

var dateIn = regexp.MustCompile(`\{(=?)(-?\d+)\}`)

// dates returns s with its dates written out.
func (o *scripted) dates(s string) string {
	return dateIn.ReplaceAllStringFunc(s, func(s string) string {
		m := dateIn.FindStringSubmatch(s)
		n, _ := strconv.Atoi(m[2])
		from := o.now()
		if m[1] != "" {
			from = o.start
		}
		return from.Add(time.Duration(n) * time.Second).UTC().Format(http.TimeFormat)
	})
}

func (o *scripted) write(h http.Header, lines [][2]string) {
	dated := false
	for _, l := range lines {
		value := o.dates(l[1])
		if name := http.CanonicalHeaderKey(l[0]); name == "Date" {
			if dated = true; value == "" {
				h["Date"] = nil
				continue
			}
		}
		h.Add(l[0], value)
	}
	if !dated {
		h.Set("Date", o.now().UTC().Format(http.TimeFormat))
	}
}

func (o *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	byTag, byDate := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
	o.sent = map[[2]bool]string{
		{true, true}: "both", {true, false}: "etag", {false, true}: "date", {}: "none",
	}[[2]bool{byTag != "", byDate != ""}]
	all := http.Header{}
	o.write(all, o.headers)
	holds := byTag != "" && byTag == all.Get("ETag") ||
		byTag == "" && byDate != "" && byDate == all.Get("Last-Modified")
	if (o.answer == "A" || o.answer == "B") && holds && !o.never304 {
		lines := o.headers
		if o.on304 != nil {
			lines = o.on304
		}
		o.write(w.Header(), lines)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	o.write(w.Header(), o.headers)
	switch o.answer {
	case "A", "B":
		w.Write(pictureOf(o.answer))
	case "A203":
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		w.Write(pictureOf("A"))
	case "cut":
		body := pictureOf("A")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	case "reset":
		panic(http.ErrAbortHandler)
	case "junk":
		fmt.Fprint(w, "<!doctype html><title>an error page with status 200</title>")
	default:
		status, err := strconv.Atoi(o.answer)
		if err != nil {
			status = http.StatusNotImplemented
		}
		w.WriteHeader(status)
	}
}

// pictureOf returns a PNG whose only pixel identifies it.
func pictureOf(which string) []byte {
	img := image.NewGray(image.Rect(0, 0, 1, 1))
	img.SetGray(0, 0, color.Gray{Y: which[0]})
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// stamp is a Resizer whose image names the picture that it was made from.
type stamp struct{}

func (stamp) Resize(_ context.Context, job resize.Job) error {
	img, err := png.Decode(bytes.NewReader(job.Original))
	if err != nil {
		return fmt.Errorf("%w: %w", resize.ErrCorrupt, err)
	}
	which := img.(*image.Gray).GrayAt(0, 0).Y
	for i, spec := range job.Specs {
		job.Made(i, resize.Image{Body: append([]byte{which}, spec.Name()...), Format: spec.Format, Width: 1, Height: 1})
	}
	return nil
}
