package admin

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// Bounds of GET /v1/originals.
const (
	maxListed     = 100 // folders and originals on a page
	defaultListed = 48
)

// thumbnail is the Spec of the thumbnails of a listing.
var thumbnail = resize.Spec{Width: 240, Height: 240, Fit: resize.FitCover, Format: resize.WebP}

// listedOriginal is an original of a listing.
type listedOriginal struct {
	Name     string    `json:"name"`
	Bytes    int64     `json:"bytes"`
	Modified time.Time `json:"modified"`
	// Thumbnail is a signed path. It is live, so that it follows changes of the original.
	Thumbnail string `json:"thumbnail,omitempty"`
}

// originals answers GET /v1/originals?source=&folder=&after=&limit=: a page of a folder of a
// source. Unlike other reads it needs the admin token: a client that may see statistics need not see the
// content of sources and signed paths.
func (p *api) originals(w http.ResponseWriter, r *http.Request) error {
	switch {
	case p.AdminToken.Set() && !p.AdminToken.Bears(r):
		return guard.ErrToken
	case !p.AdminToken.Set() && !p.Dev:
		return guard.ErrTokenUnset
	}
	source, req, err := listRequestOf(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if err := p.checkSource(source); err != nil {
		return err
	}
	list, ok, err := p.Operator.List(r.Context(), source, req)
	switch {
	case !ok:
		return problem.Errorf(problem.ErrRequest, "Source %q is an HTTP server, which cannot be listed.", source)
	case err != nil:
		return err
	}
	answer := struct {
		Folders   []string         `json:"folders"`
		Originals []listedOriginal `json:"originals"`
		Next      string           `json:"next,omitempty"`
	}{append([]string{}, list.Folders...), []listedOriginal{}, list.Next}
	for _, o := range list.Objects {
		one := listedOriginal{Name: o.Name, Bytes: o.Bytes, Modified: o.Modified.UTC()}
		if ref, err := imageurl.NewRef(source, o.Name, imageurl.Version{}, thumbnail); err == nil {
			one.Thumbnail = p.Signer.Path(ref)
		}
		answer.Originals = append(answer.Originals, one)
	}
	return writeJSON(w, r, http.StatusOK, answer)
}

// listRequestOf reads the query of a listing.
func listRequestOf(rawQuery string) (source string, req origin.ListRequest, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return "", req, problem.Errorf(problem.ErrRequest, "The query cannot be read: %v.", err)
	}
	req = origin.ListRequest{Folder: query.Get("folder"), After: query.Get("after"), Limit: defaultListed}
	if req.Folder != "" && !strings.HasSuffix(req.Folder, "/") {
		return "", req, problem.Errorf(problem.ErrRequest, `folder: has to end with "/".`)
	}
	if len(req.Folder) > imageurl.MaxName {
		return "", req, problem.Errorf(
			problem.ErrRequest, "folder: has %d bytes, not 0-%d.", len(req.Folder), imageurl.MaxName)
	}
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxListed {
			return "", req, problem.Errorf(problem.ErrRequest, "limit: want 1-%d.", maxListed)
		}
		req.Limit = n
	}
	return query.Get("source"), req, nil
}
