// Command bare answers each request with the headers of an imagetier hit and as many zeroes as
// the path says. Its cost is the minimum for a server built on net/http.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: bare HOST:PORT; /N is answered with N bytes")
	}
	body := make([]byte, 1<<20)
	server := &http.Server{
		Addr:              args[0],
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := strconv.Atoi(r.URL.Path[1:])
			if err != nil || n < 0 || n > len(body) {
				http.Error(w, "ask for /N, N bytes up to 1 MiB", http.StatusBadRequest)
				return
			}
			h := w.Header()
			for _, field := range fields {
				h[field[0]] = field[1:]
			}
			h["Content-Length"] = []string{r.URL.Path[1:]}
			_, _ = w.Write(body[:n])
		}),
	}
	return server.ListenAndServe()
}

var fields = [][]string{
	{"Accept-Ranges", "bytes"},
	{"Access-Control-Allow-Origin", "*"},
	{"Cache-Control", "public, max-age=31536000, immutable"},
	{"Cache-Status", "imagetier; hit; ttl=31536000; detail=memory"},
	{"Content-Security-Policy", "default-src 'none'; sandbox"},
	{"Content-Type", "image/jpeg"},
	{"Cross-Origin-Resource-Policy", "cross-origin"},
	{"Etag", `"760afa70b6cbf217c835e238b2cbcba6"`},
	{"Last-Modified", "Mon, 06 Feb 2023 14:09:21 GMT"},
	{"Timing-Allow-Origin", "*"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Request-Id", "cb858e7c713e9e6c"},
}
