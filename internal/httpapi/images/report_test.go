package images

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/metrics"
)

type logLine struct {
	Level      string
	Msg        string
	Method     string
	Path       string
	Status     int
	Bytes      int64
	Cache      string
	RequestID  string  `json:"request_id"`
	DurationMS float64 `json:"duration_ms"`
	Err        string
}

// reported sends a handler one request after another, and returns the log and the observations.
func reported(
	t *testing.T,
	errors slog.Level,
	every int,
	cache *fakeCache,
	ask func(h http.Handler),
) (lines []logLine, seen []metrics.Observation) {
	t.Helper()
	var log bytes.Buffer
	cfg := publicConfig(t, cache)
	cfg.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	cfg.LogErrors, cfg.LogEvery = errors, every
	cfg.Observe = func(o metrics.Observation) { seen = append(seen, o) }
	tick := apitest.Noon
	cfg.Now = func() time.Time { tick = tick.Add(3 * time.Millisecond); return tick }
	ask(New(cfg))
	for text := range strings.Lines(log.String()) {
		var line logLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines, seen
}

func TestReport_Request_LoggedAndObservedOnce(t *testing.T) {
	cache := newFakeCache()
	path := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	var id string
	lines, seen := reported(t, slog.LevelInfo, 1, cache, func(h http.Handler) {
		id = apitest.Call(h, http.MethodGet, path+"?secret=1", nil).Header().Get("X-Request-Id")
		apitest.Call(h, http.MethodGet, "/healthz", nil)
		apitest.Call(h, http.MethodHead, path, nil)
		apitest.Call(h, http.MethodGet, "/i/k1.AAAAAAAAAAAAAAAAAAAAAA/640x480/v.1/posts/cat.jpg.webp", nil)
		cache.direct(t, "fails resize.ErrBusy")
		apitest.Call(h, http.MethodGet, path, nil)
		cache.direct(t, "fails something else")
		apitest.Call(h, http.MethodGet, path, nil)
		apitest.Call(h, http.MethodGet, "/"+strings.Repeat("a", 5000), nil)
	})
	want := []logLine{
		{Level: "INFO", Status: 200, Bytes: 10, Cache: "memory", Method: "GET", Path: path, RequestID: id},
		{Level: "INFO", Status: 200, Cache: "memory", Method: "HEAD", Path: path},
		{
			Level:  "INFO",
			Status: 403,
			Cache:  "none",
			Method: "GET",
			Path:   "/i/k1.AAAAAAAAAAAAAAAAAAAAAA/640x480/v.1/posts/cat.jpg.webp",
			Err:    "wrong signature",
		},
		{Level: "WARN", Status: 503, Cache: "origin", Method: "GET", Path: path},
		{Level: "ERROR", Status: 500, Cache: "origin", Method: "GET", Path: path},
		{
			Level:  "INFO",
			Status: 404,
			Cache:  "none",
			Method: "GET",
			Path:   "/" + strings.Repeat("a", maxLogged-1),
			Err:    "no such path",
		},
	}
	if len(lines) != len(want) || len(seen) != len(want) {
		t.Fatalf("%d lines and %d observations of %d requests: %+v", len(lines), len(seen), len(want), lines)
	}
	for i, line := range lines {
		w := want[i]
		if line.Level != w.Level || line.Status != w.Status || line.Cache != w.Cache ||
			line.Method != w.Method || line.Path != w.Path ||
			line.Msg != "request" || line.RequestID == "" || w.RequestID != "" && line.RequestID != w.RequestID ||
			w.Err != "" && line.Err != w.Err {
			t.Errorf("line %d: %+v, want %+v", i, line, w)
		}
		if w.Status == 200 && line.Bytes != w.Bytes {
			t.Errorf("line %d: %d bytes, want %d", i, line.Bytes, w.Bytes)
		}
		if seen[i].Status != w.Status || seen[i].Outcome.Detail.String() != w.Cache ||
			seen[i].Duration < 3*time.Millisecond {
			t.Errorf("observation %d: %+v", i, seen[i])
		}
	}
	// Details that no client may see are in the log.
	if !strings.Contains(lines[3].Err, "bucket.secret.internal") {
		t.Errorf("the log hides the cause: %q", lines[3].Err)
	}
	ref := seen[0].Ref
	if ref.String() != "/640x480/v.1/posts/cat.jpg.webp" || !seen[0].Found || !seen[1].Found || seen[2].Found ||
		seen[3].Found {
		t.Errorf("observations %+v", seen)
	}
	if seen[0].Format != "webp" || seen[2].Format != "none" || seen[0].Bytes != 10 || seen[1].Bytes != 0 {
		t.Errorf("observations %+v", seen)
	}
}

func TestReport_Errors_LogsFailuresOnly(t *testing.T) {
	cache := newFakeCache()
	path := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	lines, seen := reported(t, slog.LevelInfo, 0, cache, func(h http.Handler) {
		apitest.Call(h, http.MethodGet, path, nil)
		apitest.Call(h, http.MethodGet, "/nothing", nil)
		cache.direct(t, "fails resize.ErrCorrupt")
		apitest.Call(h, http.MethodGet, path, nil)
		cache.direct(t, "fails origin.ErrUnavailable")
		apitest.Call(h, http.MethodGet, path, nil)
	})
	if len(lines) != 2 || lines[0].Status != 422 || lines[0].Level != "INFO" || lines[1].Status != 502 ||
		lines[1].Level != "WARN" {
		t.Errorf("logged: %+v, want a broken original and a fault", lines)
	}
	if len(seen) != 4 {
		t.Errorf("%d of 4 requests were observed", len(seen))
	}
}

func TestReport_Off_LogsOwnFaults(t *testing.T) {
	cache := newFakeCache()
	path := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	lines, _ := reported(t, slog.LevelError, 0, cache, func(h http.Handler) {
		apitest.Call(h, http.MethodGet, path, nil)
		faults := []string{"fails resize.ErrCorrupt", "fails origin.ErrUnavailable", "fails something else"}
		for _, fault := range faults {
			cache.direct(t, fault)
			apitest.Call(h, http.MethodGet, path, nil)
		}
	})
	if len(lines) != 1 || lines[0].Status != 500 || lines[0].Level != "ERROR" {
		t.Errorf("logged: %+v, want the 500", lines)
	}
}

func TestReport_Sample_LogsSomeAndFailures(t *testing.T) {
	cache := newFakeCache()
	path := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	const requests, every = 4000, 4
	lines, _ := reported(t, slog.LevelInfo, every, cache, func(h http.Handler) {
		for range requests {
			apitest.Call(h, http.MethodGet, path, nil)
		}
		cache.direct(t, "fails origin.ErrUnavailable")
		for range 10 {
			apitest.Call(h, http.MethodGet, path, nil)
		}
	})
	sampled, failed := 0, 0
	for _, line := range lines {
		switch line.Status {
		case 200:
			sampled++
			if line.DurationMS < 3 {
				t.Fatalf("%+v, want a duration from 3 ms on", line)
			}
		case 502:
			failed++
		}
	}
	// Six standard deviations of the binomial distribution: a wrong failure in 10^9 runs.
	const mean, off = requests / every, 165
	if sampled < mean-off || sampled > mean+off || failed != 10 {
		t.Errorf("%d of %d successes and %d of 10 failures logged, want about %d and all", sampled, requests, failed, mean)
	}
}

// A panic after the header is on its way cannot become a 500: the connection has to be cut.
func TestHandler_PanicInBody_AbortsConnection(t *testing.T) {
	cfg := publicConfig(t, newFakeCache())
	var seen metrics.Observation
	cfg.Observe = func(o metrics.Observation) { seen = o }
	w := &explosive{ResponseRecorder: httptest.NewRecorder()}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("the handler panicked with %v, want http.ErrAbortHandler", v)
		}
		if seen.Status != http.StatusInternalServerError || seen.Outcome.Detail != imagecache.Memory {
			t.Errorf("the observed answer is %+v", seen)
		}
	}()
	New(
		cfg,
	).ServeHTTP(w, httptest.NewRequest(http.MethodGet, apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp"), nil))
	t.Error("the handler returned as if nothing had happened")
}

type explosive struct{ *httptest.ResponseRecorder }

func (*explosive) Write([]byte) (int, error) { panic("out of order") }

func TestNew_WithoutSignerOrCache_Panics(t *testing.T) {
	for name, make := range map[string]func(){
		"no cache":  func() { New(Config{Signer: apitest.NewSigner(t)}) },
		"no signer": func() { New(Config{Cache: newFakeCache()}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was taken", name)
				}
			}()
			make()
		}()
	}
}

func TestReport_Error_RecordedWithoutSignature(t *testing.T) {
	cache := newFakeCache()
	cfg := publicConfig(t, cache)
	cfg.Errors = &httpapi.RecentErrors{}
	h := New(cfg)
	path := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	apitest.Call(h, http.MethodGet, path, nil)
	cache.direct(t, "fails resize.ErrBusy")
	id := apitest.Call(h, http.MethodGet, path+"?secret=1", nil).Header().Get("X-Request-Id")
	got := cfg.Errors.Newest()
	if len(got) != 1 || got[0].RequestID != id || got[0].Status != 503 || got[0].Code != "resize_overloaded" ||
		got[0].Path != "/640x480/v.1/posts/cat.jpg.webp" || got[0].Detail == "" || got[0].At.IsZero() {
		t.Errorf("recorded: %+v", got)
	}
}

// With --negative-ttl 0s a 404 is not kept.
func TestHandler_NegativeTTL(t *testing.T) {
	for ttl, want := range map[time.Duration]string{0: "public, max-age=0", 3 * time.Second: "public, max-age=3"} {
		cfg := publicConfig(t, newFakeCache())
		cfg.NegativeTTL = ttl
		w := httptest.NewRecorder()
		New(cfg).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/none", nil))
		if got := w.Header().Get("Cache-Control"); w.Code != http.StatusNotFound || got != want {
			t.Errorf("%v: %d with %q, want 404 with %q", ttl, w.Code, got, want)
		}
	}
}
