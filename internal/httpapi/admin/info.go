package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/jsoncheck"
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

var infoLists = jsoncheck.Limits{"images": maxInfos, "images.tags": service.MaxTags}

// asked is the image of the request that an answer is about.
type asked struct {
	Source  string `json:"source"`
	Name    string `json:"name"`
	Version string `json:"version"`
	URL     string `json:"url,omitempty"` // from which the others were read
}

// infoFault replaces the facts of an image for which they are not available.
type infoFault struct {
	Image asked `json:"image"`
	Error struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
		Title  string `json:"title"`
		Detail string `json:"detail"`
	} `json:"error"`
}

func faultOf(image asked, err error) infoFault {
	f, row := infoFault{Image: image}, problem.Of(err)
	f.Error.Status, f.Error.Code, f.Error.Title = row.Status, row.Code, problem.Title(row.Status)
	f.Error.Detail = row.DetailOf(err)
	return f
}

// infos answers POST /v1/info: for each of up to a hundred images, in the order of the request, its
// facts or an error. An image that fails does not affect the others.
func (p *api) infos(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Images []service.ImageFields `json:"images"`
	}
	if err := readJSONUpTo(w, r, &req, maxInfoBody, infoLists); err != nil {
		return err
	}
	if req.Images == nil {
		return problem.Errorf(problem.ErrRequest, `{"images":[…]} is needed.`)
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
	echo := asked{image.Source, image.Name, image.Version, image.URL}
	defer func() {
		if v := recover(); v != nil {
			p.Log.Error("request for facts panicked", "source", image.Source, "name", image.Name, "panic", v)
			facts = faultOf(echo, errors.New("panic"))
		}
	}()
	if err := p.readURL(&echo); err != nil {
		return faultOf(echo, err)
	}
	version, err := imageurl.ParseVersion(echo.Version)
	if err != nil {
		return faultOf(echo, fmt.Errorf("%w: %w", imageurl.ErrSyntax, err))
	}
	ref, err := imageurl.NewRef(
		echo.Source,
		echo.Name,
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
		return faultOf(echo, err)
	case !json.Valid(img.Body) || !strings.HasPrefix(string(img.Body), "{"):
		p.Log.Error("info is not a JSON object", "key", ref.String())
		return faultOf(echo, errors.New("info is not a JSON object"))
	}
	return withImage(img, echo)
}

// readURL sets source, name and version of an image that was requested by its plain URL.
func (p *api) readURL(image *asked) error {
	switch {
	case image.URL == "":
		return nil
	case image.Source != "" || image.Name != "" || image.Version != "":
		return problem.Errorf(problem.ErrRequest, "The image has both url and one of source, name, version.")
	case p.Locate == nil:
		return problem.Errorf(problem.ErrRequest, "No url is mapped.")
	}
	source, name, version, err := p.Locate(image.URL)
	if err != nil {
		return problem.Errorf(problem.ErrRequest, "The url cannot be mapped: %v. --image-prefix maps URLs.", err)
	}
	image.Source, image.Name, image.Version = source, name, version
	return nil
}

// withImage adds the requested image to its facts, and the version that pins the described original
// ("e.9f86") if it has a strong entity tag. Gateways need that for prefixes with version=etag.
func withImage(img imagecache.Image, of asked) any {
	body := bytes.TrimSpace(img.Body)
	echo, err := json.Marshal(of)
	if err != nil {
		panic(err) // strings can always be marshalled
	}
	version := ""
	if pin := pinOf(img); pin != "" {
		version = `,"version":"` + pin + `"` // URLs need no escapes
	}
	facts := bytes.TrimSuffix(body[1:], []byte("}"))
	if len(bytes.TrimSpace(facts)) > 0 {
		version += ","
	}
	return json.RawMessage(fmt.Appendf(nil, `{"image":%s%s%s}`, echo, version, facts))
}

// pinOf returns the version that pins an original by its strong entity tag, or "" if it has none.
func pinOf(img imagecache.Image) string {
	tag, opened := strings.CutPrefix(img.Origin.ETag, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	version, err := imageurl.NewVersion(imageurl.ETag, tag)
	if !opened || !closed || err != nil {
		return ""
	}
	return version.String()
}
