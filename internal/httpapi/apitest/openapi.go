package apitest

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// description is the parsed docs/api/openapi.yaml, read once.
var description = sync.OnceValues(func() (routers.Router, error) {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.FileBodyDecoder)
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		file := filepath.Join(dir, "docs/api/openapi.yaml")
		_, err := os.Stat(file)
		if err == nil {
			doc, err := openapi3.NewLoader().LoadFromFile(file)
			if err != nil {
				return nil, err
			}
			return legacy.NewRouter(doc)
		}
		if filepath.Dir(dir) == dir {
			return nil, err
		}
		dir = filepath.Dir(dir)
	}
})

// Described checks an answer of the private listener against docs/api/openapi.yaml. A successful
// answer of a path below /v1 that is not in it is a failure.
func Described(t testing.TB, r *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	router, err := description()
	if err != nil {
		t.Fatal(err)
	}
	route, params, err := router.FindRoute(r)
	if err != nil {
		if status < 400 && strings.HasPrefix(r.URL.Path, "/v1/") {
			t.Errorf("%s %s is not described: %v", r.Method, r.URL.Path, err)
		}
		return
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 status, Header: header, Body: io.NopCloser(bytes.NewReader(body)),
	}
	if err := openapi3filter.ValidateResponse(r.Context(), answer); err != nil {
		t.Errorf("%s %s: %d is not as described: %v\n%.500s", r.Method, r.URL.Path, status, err, body)
	}
}
