package stack

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"
)

// EventsPath is where the tier takes events.
const EventsPath = "/v1/events"

// relay is a reverse proxy in front of the tier's private listener: the gateway's requests go through it.
type relay struct {
	url     string
	server  *http.Server
	serving sync.WaitGroup
}

// newRelay forwards to the tier at url. events is called with the body of each event, and with the status
// that the tier answered, before the gateway gets the answer.
func newRelay(tier string, events func(status int, body []byte)) (*relay, error) {
	target, err := url.Parse(tier)
	if err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{url: "http://" + l.Addr().String()}
	r.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: &httputil.ReverseProxy{
			Rewrite:   func(req *httputil.ProxyRequest) { req.SetURL(target) },
			Transport: observer{http.DefaultTransport, events},
		},
	}
	r.serving.Go(func() { _ = r.server.Serve(l) }) // ends with close
	return r, nil
}

func (r *relay) close() {
	_ = r.server.Close() // only closing the listener can fail
	r.serving.Wait()
}

// observer shows events on their way.
type observer struct {
	next   http.RoundTripper
	events func(status int, body []byte)
}

// RoundTrip implements http.RoundTripper.
func (o observer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path != EventsPath {
		return o.next.RoundTrip(req)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	resp, err := o.next.RoundTrip(req)
	if err == nil {
		o.events(resp.StatusCode, body)
	}
	return resp, err
}
