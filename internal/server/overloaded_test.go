package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/novasocial/imagetier/internal/metrics"
)

func TestOverloaded_ServeHTTP_CountsProblem(t *testing.T) {
	var seen []metrics.Observation
	h := overloaded(func(o metrics.Observation) { seen = append(seen, o) })
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/i/", nil))
	var problem struct{ Code string }
	if err := json.Unmarshal(rec.Body.Bytes(), &problem); err != nil || problem.Code != "requests_overloaded" {
		t.Errorf("%s, %v", rec.Body, err)
	}
	if rec.Code != 503 || rec.Header().Get("Retry-After") == "" ||
		rec.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d, %v", rec.Code, rec.Header())
	}
	if len(seen) != 1 || seen[0].Status != 503 || seen[0].Format != "none" || seen[0].Bytes != int64(rec.Body.Len()) {
		t.Errorf("observed %+v", seen)
	}
}
