package httpserver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// engine returns cfg, which has a Handler, for one of the two engines of HTTP/1.1.
type engine func(cfg Config) Config

var engines = map[string]engine{
	"net/http": func(cfg Config) Config { return cfg },
	"http1": func(cfg Config) Config {
		cfg.Handler, cfg.Responder = nil, answersBy{cfg.Handler}
		return cfg
	},
}

// onBoth runs a test on both engines.
func onBoth(t *testing.T, test func(t *testing.T, on engine)) {
	t.Helper()
	for name, on := range engines {
		t.Run(name, func(t *testing.T) { test(t, on) })
	}
}

// answersBy is a Responder that answers as a handler does.
type answersBy struct{ http.Handler }

func (a answersBy) Respond(r *Request, w *Response) {
	rec := httptest.NewRecorder()
	std := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/", nil)
	std.Method, std.RequestURI, std.Proto = r.Method, r.Target, r.Proto
	std.ProtoMajor = map[string]int{"HTTP/2.0": 2}[r.Proto]
	a.ServeHTTP(rec, std)
	pace := Pace{}.WithDefaults()
	for name := range rec.Header() {
		if name != "Date" {
			w.Set(NewName(name), rec.Header().Get(name))
		}
	}
	_, _ = w.Send(rec.Code, rec.Body.Bytes(), &pace)
}
