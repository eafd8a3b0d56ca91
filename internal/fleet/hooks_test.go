package fleet

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/webhook"
)

const (
	secret1 = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	secret2 = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
)

// adapter is a fake CDN adapter: it checks signatures as the tier checks those of events, and
// answers with a configurable status.
type adapter struct {
	url      string
	answer   atomic.Int64 // status; 0 is 204
	mu       sync.Mutex
	ids      []string
	payloads []payload
}

func newAdapter(t *testing.T, secret string) *adapter {
	t.Helper()
	verifier, err := webhook.NewVerifier(nil, secret)
	if err != nil {
		t.Fatal(err)
	}
	a := &adapter{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		claim, err := verifier.Claim(r.Header)
		if err == nil {
			err = verifier.Verify(claim, body)
		}
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", r.Method, r.Header, err)
		}
		var p payload
		if err := json.Unmarshal(body, &p); err != nil {
			t.Errorf("%s: %v", body, err)
		}
		a.mu.Lock()
		a.ids, a.payloads = append(a.ids, claim.ID), append(a.payloads, p)
		a.mu.Unlock()
		if status := a.answer.Load(); status != 0 {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(int(status))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

// received returns the types and names that the adapter received, in order.
func (a *adapter) received() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.payloads {
		line := p.Type
		if p.Data.Soft {
			line += " soft"
		}
		for _, o := range p.Data.Originals {
			line += " " + o.Name + o.Path
		}
		all = append(all, line)
	}
	return all
}

func newHook(t *testing.T, url string, change func(*HookConfig)) (s *Hook, counts func() map[string]int) {
	t.Helper()
	var mu sync.Mutex
	seen := make(map[string]int)
	cfg := HookConfig{
		URL:     url,
		Secrets: []string{secret1, secret2},
		Wait:    time.Millisecond,
		Observe: func(outcome string) {
			mu.Lock()
			defer mu.Unlock()
			seen[outcome]++
		},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := NewHook(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func item(t *testing.T, o Entry, at time.Time) jetstream.Entry {
	t.Helper()
	if o.Source == "" {
		o.Source = "posts"
	}
	if o.Kind == "" {
		o.Kind = KindPurge
	}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return jetstream.Entry{Data: data, At: at}
}

func TestHook_Send_SignsInOrderAndNamesEachOriginalOnce(t *testing.T) {
	for _, secret := range []string{secret1, secret2} { // either secret verifies, so that one can be replaced
		a := newAdapter(t, secret)
		s, counts := newHook(t, a.url, nil)
		now := time.Now()
		items := []jetstream.Entry{
			item(t, Entry{Stamp: Stamp{ID: "1"}, Name: []byte("a.jpg")}, now),
			item(t, Entry{Stamp: Stamp{ID: "2"}, Name: []byte("b.jpg"), Path: "/640x/v.1/posts/b.jpg.webp"}, now),
			item(t, Entry{Stamp: Stamp{ID: "3"}, Name: []byte("a.jpg")}, now),
			item(t, Entry{Stamp: Stamp{ID: "4"}, Name: []byte("c.jpg"), Kind: KindTakedown}, now),
			{Data: []byte("no entry"), At: now},
			item(t, Entry{Stamp: Stamp{ID: "5"}, Name: []byte("c.jpg"), Kind: KindLift}, now),
			item(t, Entry{Stamp: Stamp{ID: "6"}, Name: []byte("d.jpg"), Kind: KindSoft}, now),
		}
		if done, again := s.send(t.Context(), items); done != len(items) || again != 0 {
			t.Errorf("%d of %d are done, again after %s", done, len(items), again)
		}
		want := []string{
			"image.purged a.jpg b.jpg/640x/v.1/posts/b.jpg.webp",
			"image.taken_down c.jpg",
			"image.lifted c.jpg",
			"image.purged soft d.jpg",
		}
		if got := a.received(); !slices.Equal(got, want) {
			t.Errorf("the hook received\n%q, want\n%q", got, want)
		}
		first := a.payloads[0].Data.Originals[0]
		of := imagecache.Original{Source: "posts", Name: "a.jpg"}
		if first.Tag != of.CDNTag() || first.Source != "posts" || !a.payloads[0].Timestamp.Equal(now) {
			t.Errorf("%+v of %s", first, a.payloads[0].Timestamp)
		}
		if got := counts(); !reflect.DeepEqual(got, map[string]int{"sent": 4}) {
			t.Errorf("counted: %v", got)
		}
	}
}

func TestHook_Send_WaitsForTheReceipt(t *testing.T) {
	a := newAdapter(t, secret1)
	s, _ := newHook(t, a.url, func(c *HookConfig) { c.Wait = time.Hour })
	sent := make(chan int)
	go func() {
		done, _ := s.send(t.Context(), []jetstream.Entry{
			item(t, Entry{Stamp: Stamp{ID: "1"}, Name: []byte("a.jpg")}, time.Now()),
			item(t, Entry{Stamp: Stamp{ID: "2"}, Name: []byte("b.jpg")}, time.Now()),
		})
		sent <- done
	}()
	s.hear([]byte(`{"entry":"2"}`))
	s.hear([]byte(`nonsense`))
	s.hear([]byte(`{"entry":"of another"}`))
	select {
	case <-sent:
		t.Fatal("hook called without a receipt")
	case <-time.After(50 * time.Millisecond): // time for a wrong early call to arrive
	}
	if n := len(a.received()); n != 0 {
		t.Fatalf("adapter received %d purges, want 0", n)
	}
	s.hear([]byte(`{"entry":"1"}`))
	if done := <-sent; done != 2 {
		t.Errorf("%d are done", done)
	}
	// A receipt that came earlier is known, and an old entry does not wait for receipts any more.
	s.hear([]byte(`{"entry":"3"}`))
	items := []jetstream.Entry{
		item(t, Entry{Stamp: Stamp{ID: "3"}}, time.Now()),
		item(t, Entry{Stamp: Stamp{ID: "4"}}, time.Now().Add(-2*time.Minute)),
	}
	if done, _ := s.send(t.Context(), items); done != 2 {
		t.Errorf("%d are done", done)
	}
}

func TestHook_Send_RetriesUnderTheSameID(t *testing.T) {
	for _, status := range []int{500, 503, 404, 301} {
		a := newAdapter(t, secret1)
		a.answer.Store(int64(status))
		s, counts := newHook(t, a.url, func(c *HookConfig) { c.FirstPause = 8 * time.Second })
		items := []jetstream.Entry{
			item(t, Entry{Stamp: Stamp{ID: "1"}, Name: []byte("a.jpg")}, time.Now()),
			item(t, Entry{Stamp: Stamp{ID: "2"}, Name: []byte("b.jpg"), Kind: KindTakedown}, time.Now()),
		}
		// 7 s from the adapter's Retry-After, then half of 16 s and of 32 s
		for _, least := range []time.Duration{7 * time.Second, 8 * time.Second, 16 * time.Second} {
			if done, again := s.send(t.Context(), items); done != 0 || again < least || again > 4*least {
				t.Errorf("%d: %d done, again after %s, want at least %s", status, done, again, least)
			}
		}
		a.answer.Store(0)
		if done, again := s.send(t.Context(), items); done != 2 || again != 0 {
			t.Errorf("%d: %d done, again after %s", status, done, again)
		}
		a.mu.Lock()
		ids := slices.Clone(a.ids)
		a.mu.Unlock()
		if len(ids) != 5 || ids[0] != ids[3] || ids[0] == ids[4] {
			t.Errorf("%d: ids %q", status, ids)
		}
		if got := counts(); !reflect.DeepEqual(got, map[string]int{"failed": 3, "sent": 2}) {
			t.Errorf("%d: counted: %v", status, got)
		}
		a.answer.Store(int64(status)) // and the backoff begins again
		if _, again := s.send(t.Context(), items); again > 8*time.Second {
			t.Errorf("%d: again after %s", status, again)
		}
	}
}

func TestHook_Send_KeepsProgressBeforeFailure(t *testing.T) {
	a := newAdapter(t, secret1)
	s, _ := newHook(t, a.url, nil)
	var n atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 2 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(proxy.Close)
	s.cfg.URL = proxy.URL
	done, again := s.send(t.Context(), []jetstream.Entry{
		item(t, Entry{Stamp: Stamp{ID: "1"}, Name: []byte("a.jpg")}, time.Now()),
		item(t, Entry{Stamp: Stamp{ID: "2"}, Name: []byte("b.jpg")}, time.Now()),
		item(t, Entry{Stamp: Stamp{ID: "3"}, Name: []byte("b.jpg"), Kind: KindTakedown}, time.Now()),
	})
	if done != 2 || again == 0 {
		t.Errorf("%d done, again after %s", done, again)
	}
}

func TestHook_Send_TimesOut(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	s, counts := newHook(t, srv.URL, func(c *HookConfig) { c.Timeout = 20 * time.Millisecond })
	items := []jetstream.Entry{item(t, Entry{Stamp: Stamp{ID: "1"}}, time.Now())}
	if done, again := s.send(t.Context(), items); done != 0 || again == 0 {
		t.Errorf("%d done, again after %s", done, again)
	}
	if got := counts(); got["failed"] != 1 {
		t.Errorf("counted: %v", got)
	}
}

func TestHook_Send_BoundsAnswer(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 100<<10))
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		},
	} {
		srv := httptest.NewServer(answer)
		s, counts := newHook(t, srv.URL, nil)
		items := []jetstream.Entry{item(t, Entry{Stamp: Stamp{ID: "1"}}, time.Now())}
		if done, again := s.send(t.Context(), items); done != 0 || again == 0 || counts()["failed"] != 1 {
			t.Errorf("%s: %d done, again after %s, counted: %v", name, done, again, counts())
		}
		srv.Close()
	}
	// An endless body is cut off: the hook has succeeded.
	written := make(chan int, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sent, piece := 0, make([]byte, 64<<10)
		for {
			n, err := w.Write(piece)
			if sent += n; err != nil {
				written <- sent
				return
			}
		}
	}))
	defer srv.Close()
	s, _ := newHook(t, srv.URL, nil)
	items := []jetstream.Entry{item(t, Entry{Stamp: Stamp{ID: "1"}}, time.Now())}
	if done, _ := s.send(t.Context(), items); done != 1 {
		t.Errorf("%d done", done)
	}
	if sent := <-written; sent > 64<<20 {
		t.Errorf("%d bytes were taken", sent)
	}
}

// Entries that are too old are finished, although those behind them cannot be posted.
func TestHook_Send_FinishesOldEntriesBeforeFailure(t *testing.T) {
	a := newAdapter(t, secret1)
	a.answer.Store(http.StatusBadGateway)
	s, counts := newHook(t, a.url, nil)
	items := []jetstream.Entry{
		item(t, Entry{Stamp: Stamp{ID: "1"}}, time.Now().Add(-25*time.Hour)),
		{Data: []byte("no entry"), At: time.Now()},
		item(t, Entry{Stamp: Stamp{ID: "2"}}, time.Now()),
	}
	if done, again := s.send(t.Context(), items); done != 2 || again == 0 {
		t.Errorf("%d done, again after %s; want 2", done, again)
	}
	if got := counts(); !reflect.DeepEqual(got, map[string]int{"expired": 1, "failed": 1}) {
		t.Errorf("counted: %v", got)
	}
}

func TestHook_Send_DropsOldEntries(t *testing.T) {
	a := newAdapter(t, secret1)
	s, counts := newHook(t, a.url, nil)
	items := []jetstream.Entry{
		item(t, Entry{Stamp: Stamp{ID: "1"}, Name: []byte("old.jpg")}, time.Now().Add(-25*time.Hour)),
	}
	if done, again := s.send(t.Context(), items); done != 1 || again != 0 {
		t.Errorf("%d done, again after %s", done, again)
	}
	items = append(items, item(t, Entry{Stamp: Stamp{ID: "2"}, Name: []byte("new.jpg")}, time.Now()))
	if done, _ := s.send(t.Context(), items); done != 2 {
		t.Errorf("%d done", done)
	}
	if got := fmt.Sprint(a.received(), counts()); got != "[image.purged new.jpg] map[expired:2 sent:1]" {
		t.Error(got)
	}
}
