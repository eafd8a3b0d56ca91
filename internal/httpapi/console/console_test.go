package console

import (
	"bytes"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/resize"
)

func newSigner(t *testing.T) *imageurl.Signer {
	t.Helper()
	s, err := imageurl.NewSigner(imageurl.Key{ID: "k1", Secret: make([]byte, imageurl.MinSecret)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// open returns the config of a console that needs no token.
func open(t *testing.T) Config {
	return Config{
		Signer: newSigner(t), Public: http.NotFoundHandler(), Dev: true, PublicURL: "https://img.example.com",
		Sources: []string{"posts"}, Watermarks: imagecache.NewWatermarks(map[string]string{"logo": "9f86d081884c7d65"}),
	}
}

func get(t *testing.T, cfg Config, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	New(cfg).ServeHTTP(rec, r)
	return rec
}

func TestConsole_Get_ServesPageAndAssets(t *testing.T) {
	cfg := open(t)
	rec := get(t, cfg, "/")
	if rec.Code != http.StatusOK || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") {
		t.Fatal(rec.Code, rec.Header())
	}
	links := regexp.MustCompile(`(?:src|href)="(/console/[^"]+)"`).FindAllStringSubmatch(rec.Body.String(), -1)
	if len(links) < 4 {
		t.Fatalf("only %v are linked", links)
	}
	seen := map[string]bool{}
	var follow func(target string)
	follow = func(target string) {
		if seen[target] {
			return
		}
		seen[target] = true
		part := get(t, cfg, target)
		if part.Code != http.StatusOK || part.Header().Get("Content-Type") == "" ||
			part.Header().Get("Content-Security-Policy") != policy {
			t.Errorf("%s is %d, %v", target, part.Code, part.Header())
		}
		if strings.HasSuffix(target, ".js") {
			for _, m := range regexp.MustCompile(`from "\./([^"]+)"`).FindAllStringSubmatch(part.Body.String(), -1) {
				follow("/console/" + m[1])
			}
		}
	}
	for _, link := range links {
		follow(link[1])
	}
	files, err := fs.ReadDir(assets, "assets")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "index.html" && !seen["/console/"+f.Name()] {
			t.Errorf("no page uses %s", f.Name())
		}
	}
}

func TestConsole_Assets_NoForeignOrInlineCode(t *testing.T) {
	files, err := fs.ReadDir(assets, "assets")
	if err != nil {
		t.Fatal(err)
	}
	foreign := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9-]+\.[a-z]`)
	inline := regexp.MustCompile(
		`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:|innerHTML|insertAdjacentHTML|document\.write|\beval\(`,
	)
	for _, f := range files {
		body, err := assets.ReadFile(path.Join("assets", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(body), "http://www.w3.org/2000/svg", "") // a namespace, not an address
		if found := foreign.FindString(text); found != "" {
			t.Errorf("%s names %q", f.Name(), found)
		}
		if found := inline.FindString(text); found != "" {
			t.Errorf("%s has %q", f.Name(), found)
		}
	}
}

func TestConsole_Get_NotModified(t *testing.T) {
	cfg := open(t)
	first := get(t, cfg, "/console/main.js")
	again := get(t, cfg, "/console/main.js", "If-None-Match", first.Header().Get("ETag"))
	if again.Code != http.StatusNotModified || again.Body.Len() > 0 ||
		first.Header().Get("Cache-Control") != "no-cache" {
		t.Error(again.Code, again.Body.Len(), first.Header())
	}
}

func TestConsole_Get_UnknownAssetIs404(t *testing.T) {
	for _, target := range []string{
		"/nothing", "/console/", "/console/nothing", "/console/index.html", "/console/../assets/main.js",
	} {
		if rec := get(t, open(t), target); rec.Code == http.StatusOK {
			t.Errorf("%s is %d", target, rec.Code)
		}
	}
}

// sign asks for a signed path.
func sign(t *testing.T, cfg Config, source, name, version, spec string, header ...string) (int, map[string]string) {
	t.Helper()
	query := url.Values{"source": {source}, "name": {name}, "version": {version}, "spec": {spec}}
	rec := get(t, cfg, "/console/sign?"+query.Encode(), header...)
	if rec.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the answer may be kept: %v", rec.Header())
	}
	var body map[string]string
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatalf("%v: %s", err, rec.Body)
	}
	return rec.Code, body
}

func TestConsole_Sign_ReturnsURL(t *testing.T) {
	cfg := open(t)
	for _, c := range []struct{ name, version, spec, want string }{
		{"2026/cat.jpg", "v.1", "640x480-cover.webp", "/640x480-cover/v.1/posts/2026/cat.jpg.webp"},
		{"a b.jpg", "live", "64x.jpg", "/64x/live/posts/~YSBiLmpwZw.jpg"},
		{"cat.jpg", `e."9f86"`, "64x.jpg", "/64x/e.9f86/posts/cat.jpg.jpg"},
		{"cat.jpg", "s.a/b", "info.json", "/info/s.~YS9i/posts/cat.jpg.json"},
		{"cat.jpg", "v.1", "orig", "/orig/v.1/posts/cat.jpg"},
		{"cat.jpg", "v.1", "640x480-q70-cover-at50x50-wm.logo.webp",
			"/640x480-cover-wm.logo-q70/v.1/posts/cat.jpg.webp"},
	} {
		status, body := sign(t, cfg, "posts", c.name, c.version, c.spec)
		ref, err := cfg.Signer.Parse(body["path"])
		if status != http.StatusOK || err != nil || ref.String() != c.want {
			t.Errorf("%s %s %s is %d %v: %v, not %s", c.name, c.version, c.spec, status, body, err, c.want)
		}
		if body["url"] != "https://img.example.com"+body["path"] {
			t.Errorf("the URL is %s", body["url"])
		}
	}
}

func TestConsole_Sign_NotesCanonicalSpelling(t *testing.T) {
	status, body := sign(t, open(t), "posts", "cat.jpg", "v.1", "640x480-cover-at50x50.webp")
	if status != http.StatusOK || body["spec"] != "640x480-cover.webp" || !strings.Contains(body["note"], "at50x50") {
		t.Error(status, body)
	}
}

func TestConsole_Sign_RejectsInvalidInput(t *testing.T) {
	for _, c := range []struct{ source, name, version, spec, want string }{
		{"other", "cat.jpg", "v.1", "64x.jpg", "unknown source"},
		{"posts", "", "v.1", "64x.jpg", "name"},
		{"posts", "cat.jpg", "9", "64x.jpg", "version"},
		{"posts", "cat.jpg", "v.", "64x.jpg", "token"},
		{"posts", "cat.jpg", `e.W/"9f86"`, "64x.jpg", "weak"},
		{"posts", "cat.jpg", "s.null", "64x.jpg", "null"},
		{"posts", "cat.jpg", "v.1", "64x-cover.jpg", "both sides"},
		{"posts", "cat.jpg", "v.1", "9000x.jpg", "8192"},
		{"posts", "cat.jpg", "v.1", "64x-wm.other.jpg", "unknown watermark"},
	} {
		status, body := sign(t, open(t), c.source, c.name, c.version, c.spec)
		if status != http.StatusBadRequest || !strings.Contains(body["error"], c.want) {
			t.Errorf("%v is %d %v", c, status, body)
		}
	}
}

func TestConsole_Sign_RequiresAdminToken(t *testing.T) {
	const token = "an admin token"
	closed, withToken, dev, devWithToken := open(t), open(t), open(t), open(t)
	closed.Dev = false
	withToken.Dev, withToken.AdminToken = false, guard.NewToken(token)
	devWithToken.AdminToken = guard.NewToken(token)
	for _, c := range []struct {
		name          string
		cfg           Config
		authorization string
		want          int
	}{
		{"no token configured", closed, "Bearer " + token, http.StatusForbidden},
		{"none sent", withToken, "", http.StatusUnauthorized},
		{"a wrong one", withToken, "Bearer another", http.StatusUnauthorized},
		{"an empty one", withToken, "Bearer ", http.StatusUnauthorized},
		{"the token, not as Bearer", withToken, token, http.StatusUnauthorized},
		{"the right one", withToken, "Bearer " + token, http.StatusOK},
		{"development", dev, "", http.StatusOK},
		{"development with a token", devWithToken, "", http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := sign(t, c.cfg, "posts", "cat.jpg", "v.1", "64x.jpg", "Authorization", c.authorization)
			if status != c.want || (status == http.StatusOK) != (body["path"] != "") {
				t.Error(status, body)
			}
		})
	}
}

func TestConsole_Config_StatesWhoMaySign(t *testing.T) {
	closed, token, none := open(t), open(t), open(t)
	closed.Dev = false
	token.AdminToken = guard.NewToken("secret-of-the-admin")
	none.Public = nil
	for want, cfg := range map[string]Config{"open": open(t), "off": closed, "token": token} {
		rec := get(t, cfg, "/console/config")
		var body struct {
			Signing, PublicURL  string
			Sources, Watermarks []string
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body.Signing != want ||
			len(body.Sources) != 1 {
			t.Errorf("%v: %s, not %s", err, rec.Body, want)
		}
		if strings.Contains(rec.Body.String(), "secret-of") {
			t.Error("the page contains the token")
		}
	}
	if rec := get(t, none, "/console/sign"); rec.Code != http.StatusNotFound {
		t.Errorf("without a public handler, signing is %d", rec.Code)
	}
}

func TestConsole_Image_IsPublicResponse(t *testing.T) {
	cfg := open(t)
	ref, err := imageurl.NewRef("posts", "a b~.jpg", imageurl.Version{}, resize.Spec{Width: 64, Format: resize.Auto})
	if err != nil {
		t.Fatal(err)
	}
	signed := cfg.Signer.Path(ref)
	cfg.Public = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI != signed || r.Header.Get("Accept") != "image/avif" || r.Header.Get("Authorization") != "" ||
			r.Header.Get("Cookie") != "" {
			t.Errorf("the public listener is asked for %s with %v", r.RequestURI, r.Header)
		}
		w.Header().Set("Cache-Status", "imagetier; hit; detail=memory")
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte("picture"))
	})
	rec := get(
		t,
		cfg,
		"/console/image"+signed+"?x=1",
		"Accept",
		"image/avif",
		"Authorization",
		"Bearer x",
		"Cookie",
		"a=b",
	)
	if rec.Code != http.StatusTeapot || rec.Body.String() != "picture" || rec.Header().Get("Cache-Status") == "" {
		t.Error(rec.Code, rec.Body, rec.Header())
	}
}

// The fields of the public handler's response replace those that the private listener has set.
func TestConsole_Image_BothProtocols(t *testing.T) {
	body := bytes.Repeat([]byte("a"), 64<<10)
	pace := httpserver.Pace{}.WithDefaults()
	cfg := open(t)
	cfg.Public = httpserver.NetHTTP(responderFunc(func(_ *httpserver.Request, w *httpserver.Response) {
		w.SetField(httpserver.NewField("Content-Type", "image/webp"))
		w.SetField(httpserver.NewField("Cache-Control", "public"))
		_, _ = w.Send(http.StatusOK, body, &pace)
	}))
	page := New(cfg)
	s, err := httpserver.New(httpserver.Config{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store") // as package admin does
			page.ServeHTTP(w, r)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + apitest.Serve(t, s.Run) + "/console/image/i/a.webp"
	for protocol, client := range map[string]*http.Client{
		"HTTP/1.1": {Transport: &http.Transport{}, Timeout: 20 * time.Second},
		"HTTP/2.0": apitest.H2CClient(t),
	} {
		resp, err := client.Get(url)
		if err != nil {
			t.Errorf("%s: %v", protocol, err)
			continue
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(got, body) || resp.Proto != protocol {
			t.Errorf("%s: %s, %d bytes, %v", protocol, resp.Proto, len(got), err)
		}
		for key, values := range resp.Header {
			if len(values) != 1 {
				t.Errorf("%s: %s is %q", protocol, key, values)
			}
		}
		if control := resp.Header.Get("Cache-Control"); control != "public" {
			t.Errorf("%s: Cache-Control is %q", protocol, control)
		}
		client.CloseIdleConnections()
	}
}

func TestReadProcess_HasPlausibleValues(t *testing.T) {
	p := ReadProcess()
	if p.Goroutines < 1 || p.RSSBytes < 1<<20 {
		t.Errorf("%+v", p)
	}
}

type responderFunc func(r *httpserver.Request, w *httpserver.Response)

func (f responderFunc) Respond(r *httpserver.Request, w *httpserver.Response) { f(r, w) }
