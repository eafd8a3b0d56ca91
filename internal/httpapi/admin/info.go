package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/prefetch/service"
	"github.com/novasocial/imagetier/resize"
)

// Bounds of one POST /v1/info.
const (
	maxInfos     = 100              // images
	maxInfoBody  = 1 << 20          // bytes: a hundred of the longest names, escaped
	infosAtOnce  = 8                // images that are looked up at the same time
	infoDeadline = 20 * time.Second // images without facts by then are 504; the others are returned
)

// infoFault replaces the facts of an image for which they are not available.
type infoFault struct {
	Error struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
	} `json:"error"`
}

func faultOf(status int) infoFault {
	var f infoFault
	f.Error.Status, f.Error.Title = status, http.StatusText(status)
	return f
}

// infos answers POST /v1/info: for each of up to a hundred images, in the order of the request, its
// facts or an error. An image that fails does not affect the others.
func (p *api) infos(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Images []service.ImageFields `json:"images"`
	}
	if err := readJSONUpTo(w, r, &req, maxInfoBody); err != nil {
		return err
	}
	switch {
	case req.Images == nil:
		return problem.Errorf(problem.ErrRequest, `{"images":[…]} is needed.`)
	case len(req.Images) > maxInfos:
		return problem.Errorf(problem.ErrRequest, "There are %d images, allowed are %d.", len(req.Images), maxInfos)
	}
	ctx, cancel := context.WithTimeout(r.Context(), infoDeadline)
	defer cancel()
	answer := struct {
		Infos []any `json:"infos"`
	}{make([]any, len(req.Images))}
	var all sync.WaitGroup
	slots := make(chan struct{}, infosAtOnce)
	for i, image := range req.Images {
		slots <- struct{}{} // freed by infoDeadline at the latest
		all.Go(func() {
			defer func() { <-slots }()
			answer.Infos[i] = p.info(ctx, image)
		})
	}
	all.Wait()
	return writeJSON(w, r, http.StatusOK, answer)
}

// info returns the facts of one image as JSON, or an infoFault.
func (p *api) info(ctx context.Context, image service.ImageFields) (facts any) {
	defer func() {
		if v := recover(); v != nil {
			p.Log.Error("info panicked", "source", image.Source, "name", image.Name, "panic", v)
			facts = faultOf(http.StatusInternalServerError)
		}
	}()
	version, err := imageurl.ParseVersion(image.Version)
	if err != nil || image.URL != "" {
		return faultOf(http.StatusBadRequest)
	}
	ref, err := imageurl.NewRef(
		image.Source,
		image.Name,
		version,
		resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON},
	)
	if err == nil {
		err = p.Catalog.Check(ref)
	}
	var img imagecache.Image
	if err == nil {
		img, err = p.Operator.Info(ctx, ref)
	}
	switch {
	case err != nil:
		return faultOf(problem.Of(err).Status)
	case !json.Valid(img.Body) || !strings.HasPrefix(string(img.Body), "{"):
		p.Log.Error("info is no JSON object", "key", ref.String())
		return faultOf(http.StatusInternalServerError)
	}
	return withVersion(img)
}

// withVersion adds the version that pins the described original ("e.9f86") to the facts of a live
// one that has a strong entity tag. Gateways need it for prefixes with version=etag.
func withVersion(img imagecache.Image) json.RawMessage {
	tag, opened := strings.CutPrefix(img.Origin.ETag, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	version, err := imageurl.NewVersion(imageurl.ETag, tag)
	body := bytes.TrimSpace(img.Body)
	if !opened || !closed || err != nil || len(body) < len(`{"a":0}`) {
		return body
	}
	return fmt.Appendf(nil, `%s,"version":"%s"}`, body[:len(body)-1], version) // URLs need no escapes
}
