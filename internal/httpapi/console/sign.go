package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// signed is the response of /console/sign.
type signed struct {
	Path string `json:"path"`           // from /i/ on
	URL  string `json:"url"`            // with Config.PublicURL before it
	Spec string `json:"spec"`           // "640x640-cover.webp": canonical
	Note string `json:"note,omitempty"` // why Spec differs from the requested spelling
}

// refused is an error response of this package's JSON endpoints.
type refused struct {
	Error string `json:"error"`
}

// sign answers GET /console/sign?source=posts&name=cat.jpg&version=v.1&spec=640x.webp with
// a signed path. name and the token of version are not escaped as in image URLs; spec may be in
// a non-canonical spelling. Errors are 400 for invalid parameters, 401 if the admin token is
// missing or wrong, and 403 if signing is disabled.
func (c *console) sign(w http.ResponseWriter, r *http.Request) {
	if status, reason := c.authorize(r); status != 0 {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		answer(w, status, refused{reason})
		return
	}
	ref, note, err := c.ref(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, refused{err.Error()})
		return
	}
	path := c.Signer.Path(ref)
	answer(w, http.StatusOK, signed{Path: path, URL: c.PublicURL + path, Spec: ref.Spec().Name(), Note: note})
}

// ref returns the Ref that the query describes.
func (c *console) ref(query url.Values) (ref imageurl.Ref, note string, err error) {
	source := query.Get("source")
	if !slices.Contains(c.Sources, source) {
		return ref, "", fmt.Errorf("unknown source %q", source)
	}
	spec, err := resize.ParseSpecName(query.Get("spec"))
	var spelled *resize.SpellingError
	if errors.As(err, &spelled) {
		spec, note, err = spelled.Canonical, spelled.Reason, nil
	}
	if err != nil {
		return ref, "", err
	}
	if spec.Watermark != "" && !c.Watermarks.Has(spec.Watermark) {
		return ref, "", fmt.Errorf("unknown watermark %q", spec.Watermark)
	}
	version, err := versionOf(query.Get("version"))
	if err != nil {
		return ref, "", err
	}
	ref, err = imageurl.NewRef(source, query.Get("name"), version, spec)
	return ref, note, err
}

// versionOf parses live, v.TOKEN, e.TOKEN or s.TOKEN, where TOKEN is any bytes. It removes the
// quotes of an entity tag that was copied from a header.
func versionOf(text string) (imageurl.Version, error) {
	kind, token, _ := strings.Cut(text, ".")
	switch kind {
	case "live":
		return imageurl.NewVersion(imageurl.Live, token)
	case "v":
		return imageurl.NewVersion(imageurl.Trusted, token)
	case "e":
		if strings.HasPrefix(token, "W/") {
			return imageurl.Version{}, errors.New("version: a weak entity tag cannot pin an original")
		}
		return imageurl.NewVersion(imageurl.ETag, strings.Trim(token, `"`))
	case "s":
		return imageurl.NewVersion(imageurl.VersionID, token)
	}
	return imageurl.Version{}, fmt.Errorf("version %q: want live, v.TOKEN, e.TOKEN or s.TOKEN", text)
}

// authorize returns status 0 if the caller may sign, else the status and reason of the refusal.
// Signatures keep strangers from using the tier, so signing requires the admin token.
func (c *console) authorize(r *http.Request) (status int, reason string) {
	if c.AdminToken.Set() {
		if !c.AdminToken.Bears(r) {
			return http.StatusUnauthorized, "signing requires the admin token"
		}
		return 0, ""
	}
	if !c.Dev {
		return http.StatusForbidden, "signing is disabled: no admin token is configured (--admin-token)"
	}
	return 0, "" // anyone who reaches the listener, which refuses foreign host names
}

// image passes a request for a signed path to the public listener's handler.
func (c *console) image(w http.ResponseWriter, r *http.Request) {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if r.RequestURI == "" {
		path = r.URL.EscapedPath()
	}
	_, path, _ = strings.Cut(path, "/console/image")
	// A copy of r, for its protocol and connection. Of the browser's own headers (Range,
	// If-None-Match) only Accept is passed on.
	public := *r
	public.URL = &url.URL{Path: path}
	public.RequestURI, public.Header = path, http.Header{}
	if accept := r.Header["Accept"]; accept != nil {
		public.Header["Accept"] = accept
	}
	c.Public.ServeHTTP(w, &public)
}
