package adminclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// serve starts a private listener and returns a client of it.
func serve(t *testing.T, handler http.HandlerFunc) Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return Client{Listen: strings.TrimPrefix(server.URL, "http://"), Token: "token", Timeout: time.Minute}
}

func TestClient_URL(t *testing.T) {
	for listen, want := range map[string]string{
		":8081":          "http://127.0.0.1:8081/x",
		"0.0.0.0:8081":   "http://127.0.0.1:8081/x",
		"[::]:8081":      "http://[::1]:8081/x",
		"10.0.0.1:8081":  "http://10.0.0.1:8081/x",
		"localhost:8081": "http://localhost:8081/x",
	} {
		if got := (Client{Listen: listen}).URL("/x"); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

func TestClient_Purge_Errors(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   string
	}{
		{http.StatusBadRequest, `{"title":"Bad Request","detail":"unknown source"}`, "400: unknown source"},
		{http.StatusInternalServerError, "no\nJSON\x1b", "500: no JSON"},
		{http.StatusUnauthorized, "{}", "the tier requires its --admin-token (IMAGETIER_ADMIN_TOKEN)"},
	} {
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		})
		_, err := client.Purge(t.Context(), Target{Source: "posts", Name: "a.jpg"})
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != c.status || err.Error() != c.want {
			t.Errorf("%d %s: %v, want %s", c.status, c.body, err, c.want)
		}
	}
	if _, err := (Client{Listen: "127.0.0.1:1"}).Purge(t.Context(), Target{}); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("without a tier: %v, want %v", err, ErrNoAnswer)
	}
}

func TestClient_Lift_Request(t *testing.T) {
	var got string
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"), body)
		fmt.Fprint(w, `{"variants":3,"nodes":{"applied":1,"known":2}}`)
	})
	receipt, err := client.Lift(t.Context(), Target{Tag: "post:p1"})
	if want := `DELETE /v1/takedown Bearer token {"tag":"post:p1"}`; err != nil || got != want {
		t.Errorf("%v, request %s, want %s", err, got, want)
	}
	if receipt.Variants != 3 || receipt.Nodes.Known != 2 || len(receipt.JSON) == 0 {
		t.Errorf("receipt %+v", receipt)
	}
}

// roundTrips answers requests in fake time, without a network.
type roundTrips struct {
	answers []*http.Response
	at      []time.Duration // of requests, since start
	start   time.Time
}

func (r *roundTrips) RoundTrip(req *http.Request) (*http.Response, error) {
	r.at = append(r.at, time.Since(r.start))
	resp := r.answers[0]
	r.answers = r.answers[1:]
	resp.Request = req
	return resp, nil
}

func answer(status int, retryAfter, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Retry-After": {retryAfter}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

func TestClient_Warm_RetriesWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := &roundTrips{start: time.Now(), answers: []*http.Response{
			answer(http.StatusTooManyRequests, "5", ""),
			answer(http.StatusServiceUnavailable, "", ""),
			answer(http.StatusOK, "",
				"{\"path\":\"/i/a\",\"outcome\":\"hit\"}\n\n{\"path\":\"/i/b\",\"outcome\":\"made\"}\n"),
		}}
		var got []string
		req := WarmRequest{Paths: []string{"/i/a", "/i/b"}}
		err := Client{transport: tier}.Warm(t.Context(), req, func(r WarmResult) error {
			got = append(got, r.Path+" "+r.Outcome)
			return nil
		})
		if want := []string{"/i/a hit", "/i/b made"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v, want %v", err, got, want)
		}
		if want := []time.Duration{0, 5 * time.Second, 6 * time.Second}; !slices.Equal(tier.at, want) {
			t.Errorf("requests at %v, want %v", tier.at, want)
		}
	})
}

func TestClient_Warm_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body, tier := io.Pipe()
		resp := answer(http.StatusOK, "", "")
		resp.Body = body
		go func() { // three results a minute apart, then nothing
			for range 3 {
				fmt.Fprintln(tier, `{"path":"/i/a","outcome":"made"}`)
				time.Sleep(time.Minute)
			}
		}()
		client := Client{Timeout: 90 * time.Second, transport: &closingTransport{resp: resp}}
		results := 0
		err := client.Warm(t.Context(), WarmRequest{}, func(WarmResult) error { results++; return nil })
		if !errors.Is(err, ErrNoAnswer) || results != 3 || !strings.Contains(err.Error(), "no answer for 1m30s") {
			t.Errorf("%d results, %v; want 3 and %v", results, err, ErrNoAnswer)
		}
	})
}

// closingTransport fails the body of its answer when the request is canceled, as net/http does.
type closingTransport struct{ resp *http.Response }

func (c *closingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := c.resp.Body.(*io.PipeReader)
	go func() {
		<-req.Context().Done()
		body.CloseWithError(req.Context().Err())
	}()
	return c.resp, nil
}
