package fakeservices

import (
	"encoding/json"
	"net/http"
)

// Handler tells Counts as JSON: GET /connections, and POST /connections/reset, which tells
// them as they were before.
func (s *Server) Handler() http.Handler {
	tell := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Counts()) // whom the answer does not reach asks again
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connections", func(w http.ResponseWriter, _ *http.Request) { tell(w) })
	mux.HandleFunc("POST /connections/reset", func(w http.ResponseWriter, _ *http.Request) {
		tell(w)
		s.Reset()
	})
	return mux
}
