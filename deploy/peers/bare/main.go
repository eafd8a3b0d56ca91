// Command bare answers each request with the headers of an imagetier hit and as many bytes as
// the path says. Its cost is the minimum for a server built on net/http or fasthttp, or on neither.
// As page it is a GraphQL service whose every answer is a page of 20 posts with 60 image URLs.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	engines := map[string]func(net.Listener) error{
		"net/http": netHTTP, "fasthttp": fastHTTP, "loop": loop, "page": page,
	}
	if len(args) != 2 || engines[args[0]] == nil {
		return errors.New("usage: bare net/http|fasthttp|loop|page HOST:PORT; /N is answered with N bytes")
	}
	ln, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	return engines[args[0]](ln)
}

// body has memory of its own: pages that were never written to are all one page of zeroes, which the
// processor's cache holds, so that copying them costs less than copying an image.
var body = bytes.Repeat([]byte{0xff}, 1<<20)

// sized returns the N bytes for the path /N.
func sized(path string) ([]byte, error) {
	n, err := strconv.Atoi(path[min(1, len(path)):])
	if err != nil || n < 0 || n > len(body) {
		return nil, errors.New("ask for /N, N bytes up to 1 MiB")
	}
	return body[:n], nil
}

func netHTTP(ln net.Listener) error {
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := sized(r.URL.Path)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			h := w.Header()
			for _, field := range fields {
				h[field[0]] = field[1:]
			}
			h["Content-Length"] = []string{strconv.Itoa(len(b))}
			_, _ = w.Write(b)
		}),
	}
	return server.Serve(ln)
}

func fastHTTP(ln net.Listener) error {
	server := &fasthttp.Server{
		ReadTimeout: 10 * time.Second, NoDefaultServerHeader: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			b, err := sized(string(ctx.RequestURI()))
			if err != nil {
				ctx.Error(err.Error(), fasthttp.StatusBadRequest)
				return
			}
			for _, field := range fields {
				ctx.Response.Header.Set(field[0], field[1])
			}
			ctx.Response.SetBodyRaw(b)
		},
	}
	return server.Serve(ln)
}

func page(ln net.Listener) error {
	posts := make([]string, 20)
	for i := range posts { // as in BenchmarkPage of package gateway/proxy
		posts[i] = fmt.Sprintf(`{"id":"post-%d","caption":"A day at the sea, %[1]d of many. Es war schön \u2600 and we stayed `+
			`until the sun was gone; see you there tomorrow.",`+
			`"imageUrl":"https://cdn.app.example/2026/11/%08[2]x4c7d65abcdef0123.jpg",`+
			`"thumbnailUrl":"https://cdn.app.example/2026/11/t/%08[2]x4c7d65abcdef0123.jpg",`+
			`"likeCount":%[2]d,"commentCount":%[1]d,"author":{"id":"user-%[1]d","username":"someone.%[1]d",`+
			`"avatarUrl":"https://cdn.app.example/avatars/%08[2]x4c7d65abcdef0123.jpg"}}`, i, i*7919)
	}
	answer := []byte(`{"data":{"feed":{"posts":[` + strings.Join(posts, ",") + `],"cursor":"b3Bh","hasMore":true}}}`)
	server := &fasthttp.Server{
		ReadTimeout: 10 * time.Second,
		Handler: func(ctx *fasthttp.RequestCtx) {
			ctx.SetContentType("application/json")
			ctx.Response.SetBodyRaw(answer)
		},
	}
	return server.Serve(ln)
}

// loop reads lines up to an empty one and writes a header made before.
func loop(ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		go serve(conn)
	}
}

func serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		path := ""
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if words := bytes.Fields(line); path == "" && len(words) == 3 {
				path = string(words[1])
			} else if len(words) == 0 {
				break
			}
		}
		b, err := sized(path)
		if err != nil {
			return
		}
		head := append([]byte(nil), "HTTP/1.1 200 OK\r\n"...)
		for _, field := range fields {
			head = append(head, field[0]+": "+field[1]+"\r\n"...)
		}
		head = fmt.Appendf(head, "Content-Length: %d\r\n\r\n", len(b))
		both := net.Buffers{head, b}
		if _, err := both.WriteTo(conn); err != nil {
			return
		}
	}
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
