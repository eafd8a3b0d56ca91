package events_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/novasocial/imagetier/gateway/events"
	"github.com/novasocial/imagetier/internal/webhook"
	tierevents "github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
)

const secret = "0123456789abcdef01234567"

type caches struct {
	*events.Handler
	dropped []string
	seen    []string
	warmed  chan string
}

func open(t *testing.T, secrets ...string) *caches {
	t.Helper()
	prefix, err := profile.ParsePrefix("https://cdn.app.example/=posts")
	if err != nil {
		t.Fatal(err)
	}
	links, err := profile.NewLinks(prefix)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := webhook.NewVerifier(nil, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	c := &caches{warmed: make(chan string, 10)}
	c.Handler = events.New(events.Config{
		Verifier: verifier, Reader: &tierevents.Reader{Links: links, Profiles: profile.BuiltIn()},
		InvalidatePosts: func(_ context.Context, ids []string) {
			c.dropped = append(c.dropped, fmt.Sprint("posts", ids))
		},
		InvalidateProfiles: func(_ context.Context, ids []string) {
			c.dropped = append(c.dropped, fmt.Sprint("profiles", ids))
		},
		Warm:    func(_ context.Context, ids []string) error { c.warmed <- fmt.Sprint(ids); return nil },
		Observe: func(kind string, outcome events.Outcome) { c.seen = append(c.seen, kind+" "+string(outcome)) },
	})
	return c
}

// send sends an event, signed.
func (c *caches) send(
	id, body string,
	at time.Time,
	change func(name, value string) string,
) *httptest.ResponseRecorder {
	stamp := fmt.Sprint(at.Unix())
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	r := httptest.NewRequest("POST", "/v1/events", strings.NewReader(body))
	for name, value := range map[string]string{
		"webhook-id":        id,
		"webhook-timestamp": stamp,
		"webhook-signature": "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	} {
		if change != nil {
			value = change(name, value)
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

var whsec = "whsec_" + base64.StdEncoding.EncodeToString([]byte(secret))

// Changed entries are dropped.
func TestHandler_Invalidates(t *testing.T) {
	c := open(t, "whsec_"+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 24))), whsec)
	for i, e := range []struct{ body, dropped string }{
		{`{"type":"post.updated","data":{"posts":[{"id":"p1"},{"id":"p2","image":{"url":"https://cdn.app.example/a.jpg"}}]}}`, "posts[p1 p2]"},
		{`{"type":"post.deleted","data":{"posts":[{"id":"p3"}]}}`, "posts[p3]"},
		{`{"type":"user.updated","data":{"user":{"id":"u1","avatar":{"url":"https://cdn.app.example/u.jpg"}}}}`,
			"profiles[u1]"},
		{`{"type":"post.published","data":{"posts":[{"id":"p4"}]}}`, ""},
		{`{"type":"feed.page","data":{"posts":[{"image":{"url":"https://cdn.app.example/a.jpg"}}]}}`, ""},
		{`{"specversion":"1.0","id":"x","source":"/f","type":"post.deleted","data":{"posts":[{"id":"p5"}]}}`,
			"posts[p5]"},
	} {
		c.dropped = nil
		for n := range 2 { // the second one has no effect
			if w := c.send(fmt.Sprint("msg_", i), e.body, time.Now(), nil); w.Code != 202 ||
				strings.TrimSpace(w.Body.String()) != fmt.Sprintf(`{"accepted":%d}`, 1-n) {
				t.Errorf("%s: %d %s", e.body, w.Code, w.Body)
			}
		}
		if got := strings.Join(c.dropped, " "); got != e.dropped {
			t.Errorf("%s: dropped %q", e.body, got)
		}
	}
	if got := strings.Join(c.seen[:2], ", "); got != "post.updated taken, post.updated repeated" {
		t.Errorf("counted %s", got)
	}
}

func TestHandler_InvalidEvents(t *testing.T) {
	const body = `{"type":"post.deleted","data":{"posts":[{"id":"p1"}]}}`
	c := open(t, whsec)
	now := time.Now()
	for name, e := range map[string]struct {
		body   string
		at     time.Time
		change func(name, value string) string
		status int
	}{
		"old":        {body, now.Add(-6 * time.Minute), nil, 401},
		"ahead":      {body, now.Add(6 * time.Minute), nil, 401},
		"other id":   {body, now, func(n, v string) string { return strings.Replace(v, "msg_1", "msg_2", 1) }, 401},
		"other mac":  {body, now, func(n, v string) string { return strings.Replace(v, "v1,", "v1,A", 1) }, 401},
		"no event":   {`{"type":"post.exploded","data":{}}`, now, nil, 400},
		"no JSON":    {`{`, now, nil, 400},
		"no id":      {`{"type":"post.deleted","data":{"posts":[{}]}}`, now, nil, 400},
		"over 1 MiB": {body + strings.Repeat(" ", 1<<20), now, nil, 413},
	} {
		w := c.send("msg_1", e.body, e.at, e.change)
		if w.Code != e.status || c.dropped != nil ||
			w.Header().Get("Content-Type") != "application/problem+json" ||
			!strings.Contains(w.Body.String(), `"detail":"`) {
			t.Errorf("%s: %d %s, dropped %v", name, w.Code, w.Body, c.dropped)
		}
	}
	// A refused event was not accepted.
	if w := c.send("msg_1", body, now, nil); w.Code != 202 || len(c.dropped) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := open(t).send("msg_1", body, now, nil); w.Code != 401 {
		t.Errorf("without secrets: %d", w.Code)
	}
}

// An event that could not be read says nothing about its sender's JSON.
func TestHandler_UnreadEvents(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
	}{
		"slow":      {fmt.Errorf("read: %w", os.ErrDeadlineExceeded), 408},
		"cut short": {io.ErrUnexpectedEOF, 400},
	} {
		c := open(t, whsec)
		body := io.MultiReader(strings.NewReader("{"), iotest.ErrReader(test.err))
		r := httptest.NewRequest("POST", "/v1/events", body)
		r.Header.Set("Webhook-Id", "msg_1")
		r.Header.Set("Webhook-Timestamp", fmt.Sprint(time.Now().Unix()))
		r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32)))
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		if w.Code != test.status || len(c.seen) != 1 || c.seen[0] != " unread" {
			t.Errorf("%s: %d %s, observed %q", name, w.Code, w.Body, c.seen)
		}
	}
}

// Events warm popular content after they were answered.
func TestHandler_WarmsPublished(t *testing.T) {
	c := open(t, whsec)
	var posts []string
	for i := range 150 {
		posts = append(posts, fmt.Sprintf(`{"id":"p%d","audience":%d}`, i, i))
	}
	for i, body := range []string{
		`{"type":"post.deleted","data":{"posts":[{"id":"gone"}]}}`,
		`{"type":"post.published","data":{"posts":[` + strings.Join(posts, ",") + `]}}`,
		`{"type":"post.updated","data":{"posts":[{"id":"a"},{"id":"b"}]}}`,
	} {
		if w := c.send(fmt.Sprint("msg_", i), body, time.Now(), nil); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if len(c.warmed) != 0 {
		t.Error("the answer waited for warming")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	if got := <-c.warmed; !strings.HasPrefix(got, "[p149 p148 ") || !strings.HasSuffix(got, " p50]") {
		t.Errorf("warmed %s", got)
	}
	if got := <-c.warmed; got != "[a b]" {
		t.Errorf("warmed %s", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for i := range 200 { // Run has ended: events are still accepted
		body := `{"type":"post.published","data":{"posts":[{"id":"a"}]}}`
		if w := c.send(fmt.Sprint("more_", i), body, time.Now(), nil); w.Code != 202 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
