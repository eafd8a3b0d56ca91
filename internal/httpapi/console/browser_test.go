package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/testutil"
)

// browser returns a context of a real Chromium and its console errors, or skips the test if
// there is none.
func browser(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	path := testutil.Command(t, "apt-get install chromium", "chromium", "chromium-browser", "google-chrome")
	options := append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
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

// stub serves a private listener whose tier answers each path with the same image.
func stub(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 120, 80))); err != nil {
		t.Fatal(err)
	}
	cfg.Public = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "nosuch") {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"title":"Not Found","detail":"There is no such original.","request_id":"r1"}`)
			return
		}
		w.Header().Set("Content-Type", "image/png")
		w.Header().Set("Cache-Status", "imagetier; hit; ttl=31536000; detail=memory")
		_, _ = w.Write(picture.Bytes())
	})
	var n atomic.Int64
	start := time.Now()
	mux := http.NewServeMux()
	mux.Handle("/", New(cfg))
	mux.HandleFunc("/v1/stats", func(w http.ResponseWriter, _ *http.Request) {
		asked := n.Add(1000)
		_ = json.NewEncoder(w).Encode(Stats{
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
			Origins: []Origin{{Name: "posts", Breaker: "open", Requests: map[string]int64{"timeout": asked}}},
			Resize:  &Resize{Workers: map[string]int{"idle": 1, "busy": 3}, Queue: map[string]int{"live": 7}},
		})
	})
	mux.HandleFunc("/v1/explain", func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"path":     r.URL.Query().Get("url"),
			"variants": []any{map[string]any{"ttl_seconds": 7200}},
		})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
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

func TestConsole_Browser_ShowsStatistics(t *testing.T) {
	ctx, complaints := browser(t)
	server := stub(t, open(t))
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/")); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, ".top", "9.8.7", "degraded")
	eventually(t, ctx, "#notice", "the disk tier is off")
	eventually(t, ctx, "#tiles", "500", "100 %", "99 µs", "500 KiB")
	eventually(t, ctx, "#answers", "memory", "500", "100 %", "50 µs")
	eventually(t, ctx, "#tiers", "256 MiB of 512 MiB", "12.3 k entries", "no lookups in the last minute", "off")
	eventually(t, ctx, "#origins", "down, breaker open", "timeout")
	eventually(t, ctx, "#resizing", "3 busy", "7 live")
	width, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector(".fill i").style.width`))
	if err != nil || width != "50%" {
		t.Errorf("the bar of the memory tier is %s wide (%v)", width, err)
	}
	server.CloseClientConnections()
	server.Close()
	eventually(t, ctx, "#notice", "does not answer")
	for _, c := range complaints() {
		if !strings.Contains(c, "ERR_CONNECTION") {
			t.Errorf("console error: %s", c)
		}
	}
}

func TestConsole_Browser_SignsAndShowsImage(t *testing.T) {
	ctx, complaints := browser(t)
	cfg := open(t)
	cfg.Dev, cfg.AdminToken = false, guard.NewToken("an admin token")
	server := stub(t, cfg)
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/#playground")); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "#shape [name=source]", "posts")
	const typed = `const f = document.getElementById("shape").elements;
		const set = (name, value) => {
			f[name].value = value;
			f[name].dispatchEvent(new Event("input", {bubbles: true}));
		};
		const show = () => document.querySelector("#shape button.main").click();`
	run(t, ctx, typed+`set("name", "cat.jpg"); set("height", "480"); set("fit", "cover"); set("quality", "70"); show()`)
	eventually(t, ctx, "#signing", "requires the admin token")
	run(t, ctx, typed+`set("admin", "another"); show()`)
	eventually(t, ctx, "#signing", "Wrong admin token")
	run(t, ctx, typed+`set("admin", "an admin token"); show()`)
	ref, err := imageurl.ParseRef("/640x480-cover-q70/live/posts/cat.jpg.webp")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "#url", "https://img.example.com"+cfg.Signer.Path(ref))
	eventually(t, ctx, "#answer", "200 memory", "120 × 80", "image/png")
	run(t, ctx, `document.getElementById("why").click()`)
	eventually(t, ctx, "#meaning", cfg.Signer.Path(ref), "2 h 0 min")
	for _, c := range complaints() {
		if !strings.Contains(c, "401") {
			t.Errorf("console error: %s", c)
		}
	}
	run(t, ctx, `location.hash = "#playground"; `+typed+`set("name", "nosuch.jpg"); show()`)
	eventually(t, ctx, "#frame", "404 Not Found", "There is no such original.", "r1")
}
