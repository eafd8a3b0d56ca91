package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/testutil/chromium"
)

// browser starts Chromium, and returns the context of a tab and a function that returns the errors
// of its JavaScript console so far.
func browser(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	ctx := chromium.Start(t)
	var (
		mu         sync.Mutex
		complaints []string
	)
	complain := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	if err := chromedp.Listen(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			complain("%s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError {
				complain("%s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return complaints
	}
}

// fakeTier is a private listener whose tier answers each path with the same image.
type fakeTier struct {
	*httptest.Server
	token string // required for changes and listings; "" if no token is required

	mu    sync.Mutex
	calls []string // changes, as "METHOD path body"
}

// changed returns the changes so far.
func (f *fakeTier) changed() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.calls, "\n")
}

// guarded answers requests with the token by body, and notes changes.
func (f *fakeTier) guarded(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"title":"Unauthorized","detail":"This needs the admin token."}`)
			return
		}
		if r.Method != http.MethodGet {
			sent, _ := io.ReadAll(r.Body)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.calls = append(f.calls, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, sent))
		}
		fmt.Fprint(w, body)
	}
}

func (f *fakeTier) image(picture []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "nosuch") {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"title":"Not Found","detail":"There is no such original.","request_id":"r1"}`)
			return
		}
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Cache-Status", "imagetier; hit; ttl=31536000; detail=memory")
		_, _ = w.Write(picture)
	}
}

const aReceipt = `{"variants":3,"originals":1,"bytes":2048,"nodes":{"applied":2,"known":3}}`

// stub serves a fakeTier with the console of cfg.
func stub(t *testing.T, cfg Config) *fakeTier {
	t.Helper()
	f := &fakeTier{}
	if !cfg.Dev {
		f.token = "an admin token"
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 120, 80))); err != nil {
		t.Fatal(err)
	}
	cfg.Public = f.image(picture.Bytes())
	var n atomic.Int64
	start := time.Now()
	mux := http.NewServeMux()
	mux.Handle("/", New(cfg))
	mux.HandleFunc("/v1/stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(statsAfter(start, n.Add(1000)))
	})
	mux.HandleFunc("/v1/explain", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"path":     r.URL.Query().Get("url"),
			"variants": []any{map[string]any{"ttl_seconds": 7200}},
		})
	})
	mux.HandleFunc("GET /v1/originals", f.guarded(
		`{"folders":["2026/"],"originals":[{"name":"cat.jpg","bytes":9,"modified":"2026-01-02T03:04:05Z",`+
			`"thumbnail":"/i/x"}]}`,
	))
	mux.HandleFunc("GET /v1/takedown", func(w http.ResponseWriter, _ *http.Request) {
		list := `{"takedowns":[]}`
		if strings.HasPrefix(f.changed(), "POST /v1/takedown") && !strings.Contains(f.changed(), "DELETE") {
			list = `{"takedowns":[{"source":"posts","name":"dog.jpg","since":"2026-01-02T03:04:05Z"}]}`
		}
		fmt.Fprint(w, list)
	})
	mux.HandleFunc("/v1/takedown", f.guarded(aReceipt))
	mux.HandleFunc("POST /v1/purge", f.guarded(aReceipt))
	mux.HandleFunc("GET /v1/warm/dead", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"dead":[{"id":7,"died":"2026-01-02T03:04:05Z","attempts":9,"reason":"gone","what":"warm a"}]}`)
	})
	mux.HandleFunc("POST /v1/warm/dead", f.guarded(`{"settled":1}`))
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// statsAfter returns the statistics of a tier that has had a number of requests, 500 a second.
func statsAfter(start time.Time, asked int64) Stats {
	hour := History{
		End: start, ByCache: map[string][]int64{"memory": {15_000, 30_000}}, Seconds: []float64{30, 30},
		Bytes: []int64{1, 2}, Status4xx: []int64{0, 3}, Status5xx: []int64{0, 60}, OriginRequests: []int64{0, 9},
		P50Seconds: []Seconds{.001, .002}, P99Seconds: []Seconds{.01, .02},
		OriginP50Seconds: []Seconds{Seconds(math.NaN()), .03}, OriginP99Seconds: []Seconds{Seconds(math.NaN()), .3},
		QueueJobs: []int{0, 7},
	}
	return Stats{
		Version: "9.8.7", Started: start, UptimeSeconds: float64(asked) / 500,
		Health: Health{Status: "degraded", Reasons: []string{"the disk tier is off"}},
		Requests: Requests{
			Total: asked, Bytes: asked << 10,
			ByStatus: map[string]int64{"200": asked}, BoundsSeconds: []float64{.0001, .001},
			ByCache: map[string]CacheRequests{
				"memory": {Count: asked, Buckets: []int64{asked, 0, 0}, Seconds: float64(asked) * 1e-5},
			},
		},
		Tiers: []Tier{
			{Name: "memory", Bytes: 256 << 20, BudgetBytes: 512 << 20, Entries: 12_345},
			{Name: "disk", State: "off"},
		},
		Origins:  []Origin{{Name: "posts", Breaker: "open", Requests: map[string]int64{"timeout": asked}}},
		Resize:   &Resize{Workers: map[string]int{"idle": 1, "busy": 3}, Queue: map[string]int{"live": 7}},
		Prefetch: Prefetch{Available: true, QueueJobs: 12, LagSeconds: 90, DeadLetters: 1, MadeVariants: 30},
		Fleet: &Fleet{
			Node: "n1", PendingReceipts: 2, Logs: []Log{{"PURGES", 41, 42}},
			Nodes: []Node{{"n1", 0}, {"n2", 60}},
		},
		Takedowns: 1,
		History:   hour,
		TopOriginals: TopOriginals{Since: start, Originals: []TopOriginal{
			{Source: "posts", Name: "hot.jpg", Requests: 900, Misses: 9, Bytes: 1 << 20},
		}},
		Errors: []httpapi.RequestError{{
			At: start, RequestID: "r42", Status: 502, Code: "origin_unavailable", Detail: "The origin did not answer.",
			Path: "/640x/live/posts/a.jpg.webp",
		}},
		Changes: []httpapi.Change{{At: start, Kind: "purge", Tag: "post:p1", Targets: 2}},
	}
}

// eventually waits until the text at selector contains each of words.
func eventually(t *testing.T, ctx context.Context, selector string, words ...string) {
	t.Helper()
	wanted, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`new Promise((done) => {
		const end = Date.now() + 10000;
		(function look() {
			const node = document.querySelector(%q);
			const text = node?.checkVisibility() ? node.innerText : "";
			if (%s.every((w) => text.includes(w))) done("");
			else if (Date.now() > end) done("it has " + text);
			else setTimeout(look, 50);
		})();
	})`, selector, wanted), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if text != "" {
		t.Errorf("%s does not come to have %q: %s", selector, words, text)
	}
}

func run(t *testing.T, ctx context.Context, script string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("(() => {"+script+"; return true; })()")); err != nil {
		t.Fatal(err)
	}
}

// fill sets fields of a form, as a user does.
const fill = `const fill = (id, values) => {
	for (const [name, value] of Object.entries(values)) {
		const field = document.getElementById(id).elements[name];
		field.value = value;
		field.dispatchEvent(new Event("input", {bubbles: true}));
		field.dispatchEvent(new Event("change", {bubbles: true}));
	}
};
const press = (selector) => document.querySelector(selector).click();
`

// enter answers the dialog that asks for the token.
func enter(t *testing.T, ctx context.Context, token string) {
	t.Helper()
	eventually(t, ctx, "#token", "Admin token")
	run(t, ctx, fill+fmt.Sprintf(`document.querySelector("#token input").value = %q; press("#token button.main")`, token))
}

// drag moves the pointer over the picture, between shares of its sides.
func drag(t *testing.T, ctx context.Context, x0, y0, x1, y1 float64) {
	t.Helper()
	run(t, ctx, fmt.Sprintf(`const node = document.querySelector(".drag");
		node.setPointerCapture = () => {}; // there is no real pointer
		const box = node.getBoundingClientRect();
		for (const [kind, x, y] of [["down", %v, %v], ["move", %v, %v], ["up", 0, 0]]) {
			node.dispatchEvent(new PointerEvent("pointer" + kind, {
				bubbles: true, pointerId: 1, clientX: box.left + x * box.width, clientY: box.top + y * box.height,
			}));
		}`, x0, y0, x1, y1))
}

// axeIn returns what axe-core finds in a colour scheme.
func axeIn(scheme string) chromedp.Action[string] {
	return func(ctx context.Context, target *chromedp.Target) (string, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		if err != nil {
			return "", err
		}
		return chromedp.Evaluate[string](`axe.run().then((r) => r.violations.map((v) =>
			v.impact + " " + v.id + ": " + v.nodes.map((n) => n.html.slice(0, 150)).join(" ")).join("\n"))`,
			chromedp.EvalAwaitPromise)(ctx, target)
	}
}
