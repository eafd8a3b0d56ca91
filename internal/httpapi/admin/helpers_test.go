package admin

import (
	"net/http"
	"testing"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpserver"
)

// serve serves h until the test ends, and returns the address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s, err := httpserver.New(httpserver.Config{Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Serve(t, s.Run)
}
