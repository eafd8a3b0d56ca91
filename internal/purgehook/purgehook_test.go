package purgehook

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/webhook"
)

const (
	secret1 = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	secret2 = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
)

// adapter is a stand-in for one: it checks signatures as the tier checks those of events, and
// answers what it is told to.
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

// told are the types and names that the adapter was told, in order.
func (a *adapter) told() (all []string) {
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

func newSender(t *testing.T, url string, change func(*Config)) (s *Sender, counts func() map[string]int) {
	t.Helper()
	var mu sync.Mutex
	seen := make(map[string]int)
	cfg := Config{URL: url, Secrets: []string{secret1, secret2}, Wait: time.Millisecond, Observe: func(outcome string) {
		mu.Lock()
		defer mu.Unlock()
		seen[outcome]++
	}}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func item(t *testing.T, o Order, at time.Time) Item {
	t.Helper()
	if o.Source == "" {
		o.Source = "posts"
	}
	if o.Kind == "" {
		o.Kind = Purge
	}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return Item{Data: data, At: at}
}

func TestOrdersAreToldSignedInTheirOrderAndEachOriginalOnce(t *testing.T) {
	for _, secret := range []string{secret1, secret2} { // either verifies: one can be replaced
		a := newAdapter(t, secret)
		s, counts := newSender(t, a.url, nil)
		now := time.Now()
		items := []Item{
			item(t, Order{ID: "1", Name: []byte("a.jpg")}, now),
			item(t, Order{ID: "2", Name: []byte("b.jpg"), Path: "/640x/v.1/posts/b.jpg.webp"}, now),
			item(t, Order{ID: "3", Name: []byte("a.jpg")}, now),
			item(t, Order{ID: "4", Name: []byte("c.jpg"), Why: Takedown}, now),
			{Data: []byte("no order"), At: now},
			item(t, Order{ID: "5", Name: []byte("c.jpg"), Why: Lift}, now),
			item(t, Order{ID: "6", Name: []byte("d.jpg"), Kind: Soft}, now),
		}
		if done, again := s.Send(t.Context(), items); done != len(items) || again != 0 {
			t.Errorf("%d of %d are done, again after %s", done, len(items), again)
		}
		want := []string{"image.purged a.jpg b.jpg/640x/v.1/posts/b.jpg.webp", "image.taken_down c.jpg", "image.lifted c.jpg", "image.purged soft d.jpg"}
		if got := a.told(); !slices.Equal(got, want) {
			t.Errorf("told\n%q, want\n%q", got, want)
		}
		first := a.payloads[0].Data.Originals[0]
		if of := (imagecache.Original{Source: "posts", Name: "a.jpg"}); first.Tag != of.CDNTag() || first.Source != "posts" || !a.payloads[0].Timestamp.Equal(now) {
			t.Errorf("%+v of %s", first, a.payloads[0].Timestamp)
		}
		if got := counts(); !reflect.DeepEqual(got, map[string]int{"sent": 4}) {
			t.Errorf("counted: %v", got)
		}
	}
}

func TestNobodyIsToldBeforeTheReceiptIsThere(t *testing.T) {
	a := newAdapter(t, secret1)
	s, _ := newSender(t, a.url, func(c *Config) { c.Wait = time.Hour })
	sent := make(chan int)
	go func() {
		done, _ := s.Send(t.Context(), []Item{item(t, Order{ID: "1", Name: []byte("a.jpg")}, time.Now()), item(t, Order{ID: "2", Name: []byte("b.jpg")}, time.Now())})
		sent <- done
	}()
	s.Heard([]byte(`{"entry":"2"}`))
	s.Heard([]byte(`nonsense`))
	s.Heard([]byte(`{"entry":"of another"}`))
	select {
	case <-sent:
		t.Fatal("told without a receipt")
	case <-time.After(50 * time.Millisecond): // for whoever would not wait
	}
	if n := len(a.told()); n != 0 {
		t.Fatalf("%d were told", n)
	}
	s.Heard([]byte(`{"entry":"1"}`))
	if done := <-sent; done != 2 {
		t.Errorf("%d are done", done)
	}
	// A receipt that came before is known, and an old order has had its time.
	s.Heard([]byte(`{"entry":"3"}`))
	if done, _ := s.Send(t.Context(), []Item{item(t, Order{ID: "3"}, time.Now()), item(t, Order{ID: "4"}, time.Now().Add(-2*time.Minute))}); done != 2 {
		t.Errorf("%d are done", done)
	}
}

func TestWhatIsNotTakenIsToldAgainLaterAndLaterUnderTheSameID(t *testing.T) {
	for _, status := range []int{500, 503, 404, 301} {
		a := newAdapter(t, secret1)
		a.answer.Store(int64(status))
		s, counts := newSender(t, a.url, func(c *Config) { c.First = 8 * time.Second })
		items := []Item{item(t, Order{ID: "1", Name: []byte("a.jpg")}, time.Now()), item(t, Order{ID: "2", Name: []byte("b.jpg"), Why: Takedown}, time.Now())}
		for _, least := range []time.Duration{7 * time.Second, 8 * time.Second, 16 * time.Second} { // 7 s: it wants them; half of 16 and 32
			if done, again := s.Send(t.Context(), items); done != 0 || again < least || again > 4*least {
				t.Errorf("%d: %d done, again after %s, want at least %s", status, done, again, least)
			}
		}
		a.answer.Store(0)
		if done, again := s.Send(t.Context(), items); done != 2 || again != 0 {
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
		a.answer.Store(int64(status)) // and the pause begins small again
		if _, again := s.Send(t.Context(), items); again > 8*time.Second {
			t.Errorf("%d: again after %s", status, again)
		}
	}
}

func TestWhatWasToldIsNotToldAgainWhenTheRestFails(t *testing.T) {
	a := newAdapter(t, secret1)
	s, _ := newSender(t, a.url, nil)
	var n atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 2 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(proxy.Close)
	s.cfg.URL = proxy.URL
	done, again := s.Send(t.Context(), []Item{
		item(t, Order{ID: "1", Name: []byte("a.jpg")}, time.Now()), item(t, Order{ID: "2", Name: []byte("b.jpg")}, time.Now()),
		item(t, Order{ID: "3", Name: []byte("b.jpg"), Why: Takedown}, time.Now()),
	})
	if done != 2 || again == 0 {
		t.Errorf("%d done, again after %s", done, again)
	}
}

func TestAnAdapterThatHangsCostsItsTimeout(t *testing.T) {
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	s, counts := newSender(t, srv.URL, func(c *Config) { c.Timeout = 20 * time.Millisecond })
	if done, again := s.Send(t.Context(), []Item{item(t, Order{ID: "1"}, time.Now())}); done != 0 || again == 0 {
		t.Errorf("%d done, again after %s", done, again)
	}
	if got := counts(); got["failed"] != 1 {
		t.Errorf("counted: %v", got)
	}
}

func TestWhatIsTooOldIsGivenUp(t *testing.T) {
	a := newAdapter(t, secret1)
	s, counts := newSender(t, a.url, nil)
	items := []Item{item(t, Order{ID: "1", Name: []byte("old.jpg")}, time.Now().Add(-25*time.Hour))}
	if done, again := s.Send(t.Context(), items); done != 1 || again != 0 {
		t.Errorf("%d done, again after %s", done, again)
	}
	items = append(items, item(t, Order{ID: "2", Name: []byte("new.jpg")}, time.Now()))
	if done, _ := s.Send(t.Context(), items); done != 2 {
		t.Errorf("%d done", done)
	}
	if got := fmt.Sprint(a.told(), counts()); got != "[image.purged new.jpg] map[expired:2 sent:1]" {
		t.Error(got)
	}
}
