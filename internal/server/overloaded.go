package server

import (
	"net/http"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/metrics"
)

// overloaded answers the HTTP/2 requests that the public listener refuses before the handler of
// images sees them, and counts them with observe.
func overloaded(observe func(metrics.Observation)) http.Handler {
	problems := problem.New(0)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		row := problems.Of(r.Context(), problem.ErrStreams)
		body := row.Body(w.Header(), problem.ErrStreams, httpapi.RequestID(r.Header["X-Request-Id"]))
		w.Header().Set("Access-Control-Allow-Origin", "*") // lets scripts of web pages read the error
		w.WriteHeader(row.Status)
		n, _ := w.Write(body) // it is buffered, and the client is not waited for
		observe(metrics.Observation{
			Status: row.Status, Format: "none", Duration: time.Since(begun), Bytes: int64(n),
		})
	})
}
