package images

import (
	"net/http"

	"github.com/novasocial/imagetier/internal/httpserver"
)

// refuse answers err by its row in the problem table.
func (x *exchange) refuse(err error) {
	x.err = err
	row := x.problems.Of(x.r.Context(), err)
	h := x.w.Header()
	body := row.Body(h, err, x.id)
	h["Cache-Control"] = []string{x.untilExpiry(row.CacheControl)}
	h["Access-Control-Allow-Origin"] = anyOrigin // lets scripts of web pages read the error
	if value := x.cacheStatus(); value != nil {
		h["Cache-Status"] = value
	}
	if x.TagHeader != "" && x.original.Source != "" && row.CacheControl != "no-store" {
		h[x.TagHeader] = []string{x.original.CDNTag()}
	}
	if x.vary {
		h["Vary"] = varyAccept
	}
	if row.Status == http.StatusMethodNotAllowed {
		h["Allow"] = []string{"GET, HEAD"}
	}
	resp := httpserver.NewResponse(x.w, x.r, 0)
	x.send(row.Status, body, &resp)
}
