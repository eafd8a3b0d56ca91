package console

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/testutil"
)

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
	width, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.querySelector("#tiers .fill i").style.width`))
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

// The chart of the last hour comes from the tier: after a reload it is complete.
func TestConsole_Browser_ShowsHourAfterReload(t *testing.T) {
	ctx, complaints := browser(t)
	server := stub(t, open(t))
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/"), chromedp.Reload()); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "#charts", "1,000 /s", "100 %", "20 ms", "2.00 /s", "300 ms", "7")
	eventually(t, ctx, "#top", "hot.jpg", "900", "1.0 %")
	eventually(t, ctx, "#warming", "12 jobs, oldest 1 min", "30 variants")
	eventually(t, ctx, "#dead-count", "1 dead letter")
	eventually(t, ctx, "#fleet", "this node", "silent for 1 min", "41 of 42 applied")
	run(t, ctx, `document.querySelector("#charts .plot").dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowLeft"}))`)
	eventually(t, ctx, "#charts figure:first-child", "500 /s", "30 s ago")
	run(t, ctx, `document.querySelector("#errors a").click()`)
	eventually(t, ctx, "#meaning", "/640x/live/posts/a.jpg.webp")
	for _, c := range complaints() {
		t.Errorf("console error: %s", c)
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
	eventually(t, ctx, "#frame", "needs the admin token")
	run(t, ctx, fill+`press("#frame button")`)
	enter(t, ctx, "another")
	eventually(t, ctx, "#token", "Wrong admin token")
	enter(t, ctx, "an admin token")
	eventually(t, ctx, "#originals", "2026", "cat.jpg")
	eventually(t, ctx, "#headline", "200 memory", "120 × 80", "image/png") // the first picture is selected
	run(t, ctx, fill+`fill("shape", {height: "480", fit: "cover", quality: "70"})`)
	eventually(t, ctx, "#url", "https://img.example.com"+pathOf(t, cfg, "/640x480-cover-q70/live/posts/cat.jpg.webp"))
	run(t, ctx, fill+`press("#snippet-kinds [value=srcset]")`)
	eventually(t, ctx, "#snippet", "<img src=", "1280x960", `width="640"`, `height="480"`)
	eventually(t, ctx, "#headline", "200 memory")
	run(t, ctx, `document.getElementById("why").click()`)
	eventually(t, ctx, "#meaning", "640x480-cover-q70", "2 h 0 min")
	for _, c := range complaints() {
		if !strings.Contains(c, "401") {
			t.Errorf("console error: %s", c)
		}
	}
	run(t, ctx, fill+`location.hash = "#playground"; fill("shape", {name: "nosuch.jpg"})`)
	eventually(t, ctx, "#frame", "404 Not Found", "There is no such original.", "r1")
}

func pathOf(t *testing.T, cfg Config, path string) string {
	t.Helper()
	ref, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Signer.Path(ref)
}

// After an invalid field no picture, URL or snippet of the valid one remains.
func TestConsole_Browser_InvalidFieldClearsPicture(t *testing.T) {
	ctx, _ := browser(t)
	server := stub(t, open(t))
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/#playground=posts/cat.jpg")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, bad, good, words string }{
		{"width", "99999", "640", "Width"},
		{"crop", "0x0x9", "", "Crop"},
		{"crop", "900x0x900x900", "", "crop"},
		{"background", "12345g", "", "Background"},
		{"name", "", "cat.jpg", "Choose an original"},
		{"fit", "cover", "", "cover"}, // without a height
	} {
		eventually(t, ctx, "#headline", "200 memory")
		run(t, ctx, fill+fmt.Sprintf(`fill("shape", {%s: %q})`, c.name, c.bad))
		eventually(t, ctx, "#frame", c.words)
		left, err := chromedp.Run(ctx, chromedp.Evaluate[string](`(() => {
			const shown = (id) => document.getElementById(id).checkVisibility();
			return [...document.querySelectorAll("#frame img")].length + " " +
				document.getElementById("url").innerText +
				" " + shown("snippets") + " " + shown("why") + " " + document.getElementById("headline").innerText;
		})()`))
		if err != nil || strings.TrimSpace(left) != "0 No URL. false false" {
			t.Errorf("%s %q leaves %q, %v", c.name, c.bad, left, err)
		}
		run(t, ctx, fill+fmt.Sprintf(`fill("shape", {%s: %q})`, c.name, c.good))
	}
}

// The view modes of the preview, and setting a crop and a focal point by keyboard.
func TestConsole_Browser_CropsAndCompares(t *testing.T) {
	ctx, complaints := browser(t)
	server := stub(t, open(t))
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/#playground=posts/cat.jpg")); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "#headline", "200 memory")
	run(t, ctx, fill+`press("#views [value=formats]")`)
	eventually(t, ctx, "#frame .formats", "jpg", "webp", "avif", "200 memory")
	run(t, ctx, fill+`press("#views [value=compare]")`)
	eventually(t, ctx, "#frame .compare", "original", "variant")
	run(t, ctx, fill+`press("#views [value=crop]")`)
	eventually(t, ctx, "#frame .edit", "Result")
	key := `document.querySelector("[data-drag]").dispatchEvent(
		new KeyboardEvent("keydown", {key: %q, shiftKey: %t, bubbles: true}))`
	run(t, ctx, fmt.Sprintf(key, "ArrowLeft", true))
	eventually(t, ctx, "#url", "640x-crop0x0x990x1000")
	run(t, ctx, fmt.Sprintf(key, "Delete", false))
	eventually(t, ctx, "#url", "/640x/")
	eventually(t, ctx, "#frame .edit", "Result")
	drag(t, ctx, .25, .25, .75, .5)
	eventually(t, ctx, "#url", "640x-crop250x250x500x250")
	run(t, ctx, fill+`fill("shape", {height: "640", crop: ""}); press("#views [value=focus]")`)
	eventually(t, ctx, "#url", "/640x640/")
	eventually(t, ctx, "#headline", "Click what has to stay visible")
	drag(t, ctx, .2, .3, .25, .75)
	eventually(t, ctx, "#url", "640x640-cover-at25x75")
	for _, c := range complaints() {
		t.Errorf("console error: %s", c)
	}
}

// The page asks for the token once, and neither stores it nor puts it into the URL.
func TestConsole_Browser_ChangesWithOneToken(t *testing.T) {
	ctx, _ := browser(t)
	cfg := open(t)
	cfg.Dev, cfg.AdminToken = false, guard.NewToken("an admin token")
	server := stub(t, cfg)
	if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/#changes")); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "#changes-made", "Purge", "post:p1", "2 targets")
	run(t, ctx, fill+`fill("takedown", {value: "dog.jpg"}); press("#takedown button.main")`)
	enter(t, ctx, "an admin token")
	eventually(t, ctx, "#takedown-said", "3 variants, 1 original, 2.00 KiB", "2 of 3 nodes")
	eventually(t, ctx, "#takedowns", "dog.jpg")
	run(t, ctx, fill+`press("#takedowns button")`)
	eventually(t, ctx, "#takedowns + .empty", "Nothing is taken down")
	run(t, ctx, fill+`fill("purge", {by: "tag", value: "post:p1"}); press("#dry-run")`)
	eventually(t, ctx, "#purge-said", "would remove 3 variants")
	run(t, ctx, fill+`press("#purge button.main")`)
	eventually(t, ctx, "#purge-said", "Done")
	run(t, ctx, fill+`press("#dead button")`)
	eventually(t, ctx, "#dead-said", "1 queued again")
	want := `POST /v1/takedown {"source":"posts","name":"dog.jpg"}
DELETE /v1/takedown {"source":"posts","name":"dog.jpg"}
POST /v1/purge {"tag":"post:p1","dry_run":true}
POST /v1/purge {"tag":"post:p1","soft":false}
POST /v1/warm/dead {"do":"retry","ids":[7]}`
	if got := server.changed(); got != want {
		t.Errorf("changes:\n%s\nnot\n%s", got, want)
	}
	kept, err := chromedp.Run(ctx, chromedp.Evaluate[string](`JSON.stringify([localStorage, sessionStorage,
		document.cookie, location.href, document.documentElement.outerHTML,
		[...document.querySelectorAll("input")].map((i) => i.value)])`))
	if err != nil || strings.Contains(kept, "an admin token") {
		t.Errorf("the page keeps the token: %v", err)
	}
}

// axe-core finds nothing in any view, and nothing is wider than a phone.
func TestConsole_Browser_IsAccessible(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	axe, err := os.ReadFile(filepath.Join(os.Getenv("IMAGETIER_TOOLS"), "axe.js"))
	testutil.Require(t, err, "make tools, which needs npm")
	ctx, _ := browser(t)
	server := stub(t, open(t))
	for view, words := range map[string]string{
		"status": "hot.jpg", "changes": "warm a", "playground=posts/cat.jpg": "200 memory",
		"explain=/640x/live/posts/a.jpg.webp": "2 h",
	} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 844),
			chromedp.Navigate("about:blank"), chromedp.Navigate(server.URL+"/#"+view)); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(view, "=")
		eventually(t, ctx, "#"+name, words)
		run(t, ctx, string(axe))
		for _, scheme := range []string{"light", "dark"} {
			found, err := chromedp.Run(ctx, axeIn(scheme))
			if err != nil || found != "" {
				t.Errorf("%s, %s: %v\n%s", view, scheme, err, found)
			}
		}
		width, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth`))
		if err != nil || width > 390 {
			t.Errorf("%s is %d pixels wide, %v", view, width, err)
		}
	}
}
