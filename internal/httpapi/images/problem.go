package images

import (
	"maps"
	"net/http"
	"slices"

	"github.com/novasocial/imagetier/internal/httpserver"
)

// refuse answers err by its row in the problem table, with the header fields of more.
func (x *exchange) refuse(err error, more ...http.Header) {
	x.err = err
	row := x.handler.problems.Of(x.r.Context(), err)
	h := http.Header{}
	body := row.Body(h, err, x.id)
	h.Set("Cache-Control", x.untilExpiry(row.CacheControl))
	h.Set("Access-Control-Allow-Origin", "*") // lets scripts of web pages read the error
	if value := x.cacheStatus(); value != "" {
		h.Set("Cache-Status", value)
	}
	if x.TagHeader != "" && x.original.Source != "" && row.CacheControl != "no-store" {
		h.Set(x.TagHeader, x.original.CDNTag())
	}
	if x.vary {
		h.Set("Vary", "Accept")
	}
	if row.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD")
	}
	for _, own := range more {
		maps.Copy(h, own)
	}
	h.Del("Content-Length") // the engine's
	for _, name := range slices.Sorted(maps.Keys(h)) {
		x.w.Set(httpserver.NewName(name), h.Get(name))
	}
	x.send(row.Status, body)
}
