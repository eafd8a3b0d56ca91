package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/resize"
)

// explanation is the answer of GET /v1/explain.
type explanation struct {
	URL       string    `json:"url"`
	Path      string    `json:"path"`            // the path of the URL, without host, query and fragment
	Signature signature `json:"signature"`       // empty if the path has none
	Error     string    `json:"error,omitempty"` // why this is not an image URL; the other fields are empty then
	Ref       *refParts `json:"ref,omitempty"`
	// Status is the response of the public listener before it looks into the cache (451 for a
	// takedown); 200 if the request would reach the cache.
	Status    int             `json:"status,omitempty"`
	Why       string          `json:"why,omitempty"` // the reason for a Status other than 200
	Variants  []explained     `json:"variants,omitempty"`
	LastAsked *originResponse `json:"last_origin,omitempty"`
}

// signature describes the signature of a path.
type signature struct {
	Verdict string `json:"verdict"` // good, wrong, missing, expired, development
	Key     string `json:"key,omitempty"`
	Detail  string `json:"detail"`
}

type refParts struct {
	Source  string `json:"source"`
	Name    string `json:"name"` // decoded
	Version string `json:"version"`
	Pinned  bool   `json:"pinned"`
	Shape   string `json:"shape"`
	Format  string `json:"format,omitempty"`
}

// explained is one variant. An auto URL has one for each class of clients.
type explained struct {
	Class string `json:"class,omitempty"` // class of Accept headers; auto only
	Key   string `json:"key"`
	Held  []held `json:"held"`
}

type held struct {
	Where        string     `json:"where"`         // memory disk derived original negative
	Key          string     `json:"key,omitempty"` // if it differs from the key of the variant
	Error        string     `json:"error,omitempty"`
	Bytes        int64      `json:"bytes,omitempty"`
	ContentType  string     `json:"content_type,omitempty"`
	ETag         string     `json:"etag,omitempty"`
	LastModified *time.Time `json:"last_modified,omitempty"`
	Freshness    string     `json:"freshness"`             // pinned, fresh, stale
	SoftPurged   bool       `json:"soft_purged,omitempty"` // it is stale because of a soft purge
	TTL          int64      `json:"ttl_seconds"`
	Age          *int64     `json:"age_seconds,omitempty"` // live only
	WhileRenewed int64      `json:"stale_while_revalidate_seconds,omitempty"`
	OnError      int64      `json:"stale_if_error_seconds,omitempty"`
	OriginETag   string     `json:"origin_etag,omitempty"`
}

type originResponse struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"`
	Error  string    `json:"error,omitempty"`
}

// explain answers GET /v1/explain?url=, where url is a whole URL, a path, or the path of a
// Ref without signature. It creates no images and no signatures: read access is not enough to
// have the tier make images.
func (p *api) explain(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	asked := query["url"]
	if err != nil || len(query) != 1 || len(asked) != 1 || asked[0] == "" {
		return problem.Errorf(
			problem.ErrRequest,
			"One parameter is needed: url, percent-encoded; a whole URL or its path.",
		)
	}
	return writeJSON(w, r, http.StatusOK, p.explainURL(r.Context(), asked[0]))
}

func (p *api) explainURL(ctx context.Context, asked string) explanation {
	e := explanation{URL: asked, Path: pathOf(asked)}
	var ref imageurl.Ref
	var err error
	e.Signature, ref, err = p.readPath(e.Path)
	if err != nil {
		e.Error = err.Error()
		return e
	}
	spec := ref.Spec()
	e.Ref = &refParts{
		Source: ref.Source(), Name: ref.Name(), Version: ref.Version().String(),
		Pinned: ref.Version().Pin() != imageurl.Live, Shape: spec.String(), Format: spec.Format.String(),
	}
	e.Status = http.StatusOK
	of := imagecache.Original{Source: ref.Source(), Name: ref.Name()}
	err = p.Catalog.Check(ref)
	if err == nil && p.Operator.TakenDown(of) {
		err = imagecache.ErrTakenDown
	}
	if err != nil {
		row := problem.Of(err)
		e.Status, e.Why = row.Status, row.DetailOf(err)
	}
	switch e.Signature.Verdict {
	case "wrong", "missing", "expired":
		e.Status, e.Why = http.StatusForbidden, e.Signature.Detail
	}
	for _, variant := range classesOf(ref) {
		one := explained{Key: variant.String(), Held: []held{}}
		if spec.Format == resize.Auto {
			one.Class = variant.Spec().Format.String()
			if one.Class == "jpg" {
				one.Class = "other"
			}
		}
		for _, h := range p.Operator.Explain(ctx, variant) {
			one.Held = append(one.Held, p.describe(h, one.Key))
		}
		e.Variants = append(e.Variants, one)
	}
	if last, ok := p.Origins.Of(of); ok {
		e.LastAsked = &originResponse{At: last.At.UTC(), Status: last.Status, Error: last.Err}
	}
	return e
}

func (p *api) describe(h imagecache.Held, key string) held {
	one := held{Where: h.Where.String(), TTL: seconds(h.TTL)}
	if h.Key.String() != key {
		one.Key = h.Key.String()
	}
	if h.Err != nil {
		one.Error = h.Err.Error()
		return one
	}
	img := h.Image
	one.Bytes, one.ContentType, one.ETag, one.OriginETag = h.Bytes, img.ContentType, img.ETag, img.Origin.ETag
	if !img.LastModified.IsZero() {
		one.LastModified = &img.LastModified
	}
	one.SoftPurged = h.SoftPurged
	switch {
	case h.SoftPurged && img.Fresh.Pinned():
		one.Freshness = "stale"
		return one
	case img.Fresh.Pinned():
		one.Freshness = "pinned"
		return one
	case h.TTL > 0:
		one.Freshness = "fresh"
	default:
		one.Freshness = "stale"
	}
	age := seconds(p.Now().Sub(img.Fresh.Generated))
	one.Age = &age
	if !img.Fresh.MustRevalidate {
		one.WhileRenewed = seconds(img.Fresh.StaleWhileRevalidate)
	}
	one.OnError = seconds(h.StaleIfError)
	return one
}

// classesOf returns ref, or for auto the variant that each class of clients receives.
func classesOf(ref imageurl.Ref) []imageurl.Ref {
	if ref.Spec().Format != resize.Auto {
		return []imageurl.Ref{ref}
	}
	return []imageurl.Ref{ref.Resolve(resize.AVIF), ref.Resolve(resize.WebP), ref.Resolve(resize.JPEG)}
}

// pathOf returns the raw path of a URL, or of a path.
func pathOf(text string) string {
	text, _, _ = strings.Cut(text, "#")
	return httpapi.PathOf(text)
}

// readPath parses a path, whether its signature is valid, invalid or missing.
func (p *api) readPath(path string) (signature, imageurl.Ref, error) {
	ref, expires, err := p.Signer.ParseExpiring(path)
	rest, below := strings.CutPrefix(path, imageurl.Prefix)
	given, _, _ := strings.Cut(rest, "/")
	key, _, _ := strings.Cut(given, ".")
	until := ""
	if !expires.IsZero() {
		until = ", until " + expires.UTC().Format(time.RFC3339)
	}
	switch {
	case errors.Is(err, imageurl.ErrExpired):
		detail := "It is valid, by the key " + key + until + ", which has passed: requests get 403."
		return signature{"expired", key, detail}, ref, nil
	case errors.Is(err, imageurl.ErrSignature), errors.Is(err, imageurl.ErrNotImage):
	case given == "_":
		return signature{"development", "", "It is _, which is accepted with --dev only."}, ref, err
	default:
		return signature{"good", key, "It is valid, by the key " + key + until + "."}, ref, err
	}
	missing := signature{"missing", "", "The URL has no signature: requests get 403."}
	if !below {
		ref, err = imageurl.ParseRef(path)
		return missing, ref, err
	}
	if ref, err := imageurl.ParseRef("/" + rest); err == nil {
		return missing, ref, nil
	}
	ref, err = imageurl.ParseRef(strings.TrimPrefix(rest, given))
	return signature{"wrong", "", "It is wrong, or its key is not configured: requests get 403."}, ref, err
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
