package fakeservices

import (
	"encoding/json"
	"net/http"
)

// Handler answers GET /connections with [Server.Counts] as JSON. POST /connections/reset answers the
// same and resets them.
func (s *Server) Handler() http.Handler {
	tell := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Counts()) // the client is gone
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connections", func(w http.ResponseWriter, _ *http.Request) { tell(w) })
	mux.HandleFunc("POST /connections/reset", func(w http.ResponseWriter, _ *http.Request) {
		tell(w)
		s.Reset()
	})
	return mux
}
