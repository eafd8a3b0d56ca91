// Package console serves the console of the private listener (status, changes, playground, explain),
// and the statistics that it shows. The page is plain HTML, CSS and JavaScript, embedded in the
// program; it sends requests only to the listener that served it.
//
//	GET /                    the page
//	GET /console/…           its scripts, styles and icon
//	GET /console/config      the part of the configuration that it needs
//	GET /console/sign?…      a signed path (sign.go)
//	GET /console/image/i/…   the public listener's response to that path
//
// For everything else the page uses the API of the private listener (/v1/…), as any other client does.
// GET /v1/stats returns [Stats]. The listener also refuses cross-site requests and foreign host names that
// resolve to this host (DNS rebinding).
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
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/resize"
)

//go:embed assets
var assets embed.FS

// Config of a console.
type Config struct {
	// Signer signs the paths of the playground. If nil, there is no playground.
	Signer *imageurl.Signer
	// Public serves the signed paths. It is the handler of the public listener, so the page
	// gets the same response as clients, headers included. If nil, there is no playground.
	Public http.Handler
	// Sources are the names of the sources, in display order.
	Sources    []string
	Watermarks *imagecache.Watermarks
	// PublicURL precedes each path: "https://img.example.com", without a trailing slash. If "",
	// the page shows paths only.
	PublicURL string
	// AdminToken is required to sign. If it is unset, signing is disabled, except with Dev,
	// where every client that reaches the listener may sign.
	AdminToken *guard.Token
	Dev        bool
}

// policy lets the page load and request only from its own listener, and forbids framing. blob:
// is for the image of the playground.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// New returns the handler of / and /console/.
func New(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page("assets/index.html"))
	files, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // the files are embedded
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

// page serves one embedded file. Browsers revalidate it each time, because the page must match
// the version of the program.
func page(name string) http.Handler {
	body, err := assets.ReadFile(name)
	if err != nil {
		panic(err) // the file is embedded
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

// harden sets the security headers of all responses of this package.
func harden(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// answer writes v as JSON that must not be cached.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode the response: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	harden(h)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// config answers GET /console/config.
func (c *console) config(w http.ResponseWriter, _ *http.Request) {
	signing := "off"
	switch {
	case c.Signer == nil || c.Public == nil:
	case c.AdminToken.Set():
		signing = "token"
	case c.Dev:
		signing = "open"
	}
	answer(w, http.StatusOK, struct {
		Signing    string   `json:"signing"` // off, token, open
		Sources    []string `json:"sources"`
		Watermarks []string `json:"watermarks"`
		PublicURL  string   `json:"public_url"`
		Options    []option `json:"options"`
		Formats    []string `json:"formats"`
	}{signing, orEmpty(c.Sources), orEmpty(c.Watermarks.Names()), c.PublicURL, grammar(), formats()})
}

// option is a [resize.Option], from which the page makes a control.
type option struct {
	Name    string   `json:"name"`
	Words   []string `json:"words"`
	Pattern string   `json:"pattern"`
	Meaning string   `json:"meaning"`
	Limit   string   `json:"limit,omitempty"`
	Goes    string   `json:"goes,omitempty"`
}

func grammar() (all []option) {
	for _, o := range resize.Options() {
		all = append(all, option{o.Name, o.Words, o.Pattern, o.Meaning, o.Limit, o.Goes})
	}
	return all
}

func formats() (names []string) {
	for f := resize.JPEG; f.Concrete(); f++ {
		names = append(names, f.String())
	}
	return names
}

// orEmpty returns names, or an empty slice if names is nil, so that its JSON is [] and not null.
func orEmpty(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}
