package stack

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRelay_ShowsEvents(t *testing.T) {
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == EventsPath && r.Header.Get("Webhook-Id") == "msg_1" && string(body) == "event" {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer tier.Close()
	var shown []string
	r, err := newRelay(tier.URL, func(status int, body []byte) {
		shown = append(shown, http.StatusText(status)+" "+string(body))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	for path, want := range map[string]int{EventsPath: http.StatusAccepted, "/v1/info": http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader("event"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Webhook-Id", "msg_1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if len(shown) != 1 || shown[0] != "Accepted event" {
		t.Errorf("the relay showed %q", shown)
	}
}
