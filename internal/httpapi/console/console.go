// Package console is the status page and playground of the private listener, and the
// numbers behind it. The page is plain HTML, CSS and JavaScript, embedded in the program:
// it asks nothing of any network but the listener that it came from.
//
//	GET /                    the page
//	GET /console/…           what it is made of
//	GET /console/config      what it must know of the configuration
//	GET /console/sign?…      a signed path (sign.go)
//	GET /console/image/i/…   the answer of the public listener to that path
//
// The page shows GET /v1/stats, which answers with Stats, and asks GET /v1/explain; both are
// the private listener's, as is the refusal of requests that come from other sites or by
// foreign names that resolve to this host.
package console

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"path"
	"strings"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

//go:embed assets
var assets embed.FS

// Config of a console.
type Config struct {
	// Signer signs what the playground asks for; nil: there is no playground.
	Signer *imageurl.Signer
	// Public answers the signed paths: the handler of the public listener, so that the
	// page sees what clients see, headers included. nil: there is no playground.
	Public http.Handler
	// Sources are the configured names, in the order in which they are shown.
	Sources    []string
	Watermarks *imagecache.Watermarks
	// PublicURL is what clients put before a path: "https://img.example.com", without a
	// slash at its end. "": paths are shown.
	PublicURL string
	// AdminToken is needed to sign. If it is empty, signing is disabled, except with Dev,
	// where every client that reaches the listener may sign.
	AdminToken string
	Dev        bool
}

// The page may load its own parts and nothing else, talks to its own listener only, and
// may not be framed. blob: is the picture of the playground.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// New returns the handler of / and /console/.
func New(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page("assets/index.html"))
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, file := range files {
		if file.Name() != "index.html" {
			mux.Handle("GET /console/"+file.Name(), page("assets/"+file.Name()))
		}
	}
	c := &console{cfg}
	mux.HandleFunc("GET /console/config", c.config)
	if cfg.Signer != nil && cfg.Public != nil {
		mux.HandleFunc("GET /console/sign", c.sign)
		mux.HandleFunc("GET /console/image/", c.image)
	}
	return mux
}

type console struct{ Config }

// page serves one embedded file. Browsers ask each time whether it is still the same: a
// page must fit the program that it talks to.
func page(name string) http.Handler {
	body, err := assets.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	kind := map[string]string{
		".html": "text/html; charset=utf-8",
		".css":  "text/css; charset=utf-8",
		".js":   "text/javascript; charset=utf-8",
		".svg":  "image/svg+xml",
	}[path.Ext(name)]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		harden(h)
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		h.Set("Content-Type", kind)
		if strings.Contains(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(body)
	})
}

// harden sets what every answer of this package has.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// answer writes v as JSON that must not be cached.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "cannot write the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	harden(h)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// config tells the page what it is a page of.
func (c *console) config(w http.ResponseWriter, _ *http.Request) {
	signing := "off"
	switch {
	case c.Signer == nil || c.Public == nil:
	case c.AdminToken != "":
		signing = "token"
	case c.Dev:
		signing = "open"
	}
	answer(w, http.StatusOK, struct {
		Signing    string   `json:"signing"` // off, token, open
		Sources    []string `json:"sources"`
		Watermarks []string `json:"watermarks"`
		PublicURL  string   `json:"public_url"`
	}{signing, orNone(c.Sources), orNone(c.Watermarks.Names()), c.PublicURL})
}

// orNone spells no names as [] and not as null.
func orNone(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
