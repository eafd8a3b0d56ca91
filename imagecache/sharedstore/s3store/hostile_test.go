package s3store_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/novasocial/imagetier/imagecache/sharedstore/s3store"
)

// A store whose answers do not end costs a bounded amount of memory, and each request ends.
func TestStore_HostileAnswers(t *testing.T) {
	endless := func(status int, begin, more string) http.HandlerFunc {
		more = strings.Repeat(more, 1000)
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			for text := begin; ; text = more {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"endless page":  {endless(200, `<ListBucketResult>`, `<Contents></Contents>`), "more than 2097152 bytes"},
		"endless name":  {endless(200, `<ListBucketResult><Name>`, `aaaaaaaaa`), "more than 2097152 bytes"},
		"endless error": {endless(500, `<Error>`, `<Code>a</Code>`), "500"},
		"endless pages": {
			func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `<ListBucketResult><IsTruncated>true</IsTruncated>
					<NextContinuationToken>t</NextContinuationToken></ListBucketResult>`)
			}, "more than 100 pages",
		},
		"full page": {
			func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `<ListBucketResult>`+strings.Repeat(`<Contents/>`, 1001)+`</ListBucketResult>`)
			}, "more than 1000 on a page",
		},
		"long header": {
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", strings.Repeat("a", 100<<10)) },
			"exceeded 65536 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			defer server.Close()
			store, err := s3store.New(t.Context(), s3store.Config{
				Bucket: "derived", Endpoint: server.URL, PathStyle: true,
				Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
			})
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = store.List(t.Context(), "aa/")
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s", err, c.says)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 256<<20 {
				t.Errorf("%d MiB were allocated", allocated>>20)
			}
		})
	}
}

func TestStore_Get_AllocatesWhatArrives(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "15000000")
		_, _ = w.Write(make([]byte, 100_000))
		if !strings.HasSuffix(r.URL.Path, "short") {
			_, _ = w.Write(make([]byte, 15_000_000-100_000))
		}
	}))
	defer server.Close()
	store, err := s3store.New(t.Context(), s3store.Config{
		Bucket: "derived", Endpoint: server.URL, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = store.Get(t.Context(), "short")
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Error("no error")
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
		t.Errorf("%d KiB were allocated for 100 KB", allocated>>10)
	}
	if got, err := store.Get(t.Context(), "whole"); err != nil || len(got) != 15_000_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
