package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/service"
)

// intake is a fake intake: it returns configured answers and records what it receives.
type intake struct {
	err      error
	repeated bool
	bodies   []string
	queued   []service.WarmRequest
	counted  []string
	settled  string        // the last call of Retry
	release  chan struct{} // not nil: Now waits for it between its two variants
}

func (s *intake) Event(_ context.Context, h http.Header, read func() ([]byte, error)) (service.Taken, error) {
	if h.Get("webhook-signature") == "" {
		return service.Taken{}, fmt.Errorf("%w: webhook-signature is missing", service.ErrForged)
	}
	body, err := read()
	if err != nil {
		return service.Taken{}, err
	}
	s.bodies = append(s.bodies, string(body))
	return service.Taken{Kind: "post.published", Repeated: s.repeated}, s.err
}

func (s *intake) Notice(_ context.Context, body []byte) ([]string, error) {
	s.bodies = append(s.bodies, string(body))
	if string(body) == "test" {
		return nil, s.err
	}
	return []string{"s3.created", "s3.removed"}, s.err
}

func (s *intake) Queue(_ context.Context, req service.WarmRequest) error {
	s.queued = append(s.queued, req)
	return s.err
}

func (s *intake) Now(ctx context.Context, req service.WarmRequest, report func(service.WarmResult)) error {
	if s.err != nil {
		return s.err
	}
	for _, wrong := range req.Wrong {
		report(wrong)
	}
	for i, ref := range req.Refs {
		results := []service.WarmResult{
			{Ref: ref},
			{Ref: ref, Hit: true},
			{Ref: ref, Err: fmt.Errorf("fill: %w", origin.ErrNotFound)},
		}
		report(results[i%len(results)])
		if s.release != nil {
			select {
			case <-s.release:
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

func (s *intake) count(kind, outcome string) { s.counted = append(s.counted, kind+" "+outcome) }

func (s *intake) handler(t *testing.T, change func(*Config)) http.Handler {
	cfg := privateConfig(t, &store{})
	cfg.Operator, cfg.Observe, cfg.AdminToken = &fakeOperator{intake: s}, s.count, guard.NewToken(adminToken)
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

// counted counts the bytes that are read from it.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

func answerTo(t *testing.T, h http.Handler, r *http.Request) (int, http.Header, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	apitest.Described(t, r, w.Code, w.Header(), w.Body.Bytes())
	return w.Code, w.Header(), w.Body.String()
}

func anEvent(body io.Reader, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/events", body)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestEvents_Post_AcceptedWhenQueued(t *testing.T) {
	s := &intake{}
	h := s.handler(t, nil)
	status, _, body := answerTo(t, h, anEvent(strings.NewReader(`{"type":"x"}`), "webhook-signature", "v1,x"))
	if status != http.StatusAccepted || !strings.Contains(body, `"accepted": 1`) {
		t.Errorf("%d %s", status, body)
	}
	s.repeated = true
	status, _, body = answerTo(t, h, anEvent(strings.NewReader(`{"type":"x"}`), "webhook-signature", "v1,x"))
	if status != http.StatusAccepted || !strings.Contains(body, `"accepted": 0`) {
		t.Errorf("a repetition: %d %s", status, body)
	}
	if got := strings.Join(s.counted, ", "); got != "post.published accepted, post.published repeated" {
		t.Errorf("counted %s", got)
	}
}

func TestIntake_Refusals(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{
			fmt.Errorf("%w: webhook-timestamp is too old", service.ErrForged),
			http.StatusUnauthorized, "webhook-timestamp",
		},
		{
			fmt.Errorf("%w: data.posts[3].image.version: it is neither", service.ErrInvalid),
			http.StatusUnprocessableEntity, "data.posts[3].image.version",
		},
		{fmt.Errorf("put: %w", service.ErrTooLarge), http.StatusRequestEntityTooLarge, "split it"},
		{fmt.Errorf("put: %w", service.ErrQueueFull), http.StatusTooManyRequests, "full"},
		{
			fmt.Errorf("put: %w: disk at /secret", service.ErrUnavailable),
			http.StatusServiceUnavailable, "cannot be written",
		},
		{errors.New("anything else at /secret"), http.StatusServiceUnavailable, "cannot be written"},
	} {
		s := &intake{err: c.err}
		status, header, body := answerTo(t,
			s.handler(t, nil),
			anEvent(strings.NewReader("{}"), "webhook-signature", "v1,x"),
		)
		var problem struct {
			Detail    string
			Status    int
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(body), &problem); err != nil ||
			status != c.status || problem.Status != c.status ||
			!strings.Contains(problem.Detail, c.says) ||
			problem.RequestID == "" ||
			strings.Contains(body, "secret") {
			t.Errorf("%v: %d %s", c.err, status, body)
		}
		later := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
		if later != (header.Get("Retry-After") != "") {
			t.Errorf("%v: %d with Retry-After %q", c.err, status, header.Get("Retry-After"))
		}
	}
}

func TestEvents_Post_LimitsBody(t *testing.T) {
	s := &intake{}
	h := s.handler(t, nil)
	ten := &counted{Reader: strings.NewReader(strings.Repeat("a", 10<<20))}
	r := anEvent(ten, "webhook-signature", "v1,x")
	r.ContentLength = 10 << 20
	if status, _, _ := answerTo(t, h, r); status != http.StatusRequestEntityTooLarge || ten.n != 0 {
		t.Errorf("a body with Content-Length: status %d, %d bytes read", status, ten.n)
	}
	r = anEvent(ten, "webhook-signature", "v1,x")
	r.ContentLength = -1
	if status, _, _ := answerTo(t, h, r); status != http.StatusRequestEntityTooLarge || ten.n > maxEventBody+1 {
		t.Errorf("a body without Content-Length: status %d, %d bytes read", status, ten.n)
	}
	small := &counted{Reader: strings.NewReader("{}")}
	r = anEvent(small)
	r.ContentLength = 2
	if status, _, _ := answerTo(t, h, r); status != http.StatusUnauthorized || small.n != 0 {
		t.Errorf("without a signature: %d, %d bytes are read", status, small.n)
	}
	r = anEvent(strings.NewReader("x"), "webhook-signature", "v1,x", "Content-Encoding", "gzip")
	if status, _, _ := answerTo(t, h, r); status != http.StatusUnsupportedMediaType {
		t.Errorf("gzip: %d", status)
	}
	if len(s.bodies) != 0 {
		t.Errorf("%d bodies are taken in", len(s.bodies))
	}
	got := strings.Join(s.counted, ", ")
	if got != "unknown too_large, unknown too_large, unknown forged, unknown invalid" {
		t.Errorf("counted %s", got)
	}
	whole := strings.Repeat("a", maxEventBody)
	r = anEvent(strings.NewReader(whole), "webhook-signature", "v1,x")
	if status, _, _ := answerTo(t, h, r); status != http.StatusAccepted || s.bodies[0] != whole {
		t.Errorf("a MiB: %d", status)
	}
}

func TestEvents_PostS3_NeedsItsOwnToken(t *testing.T) {
	const secret = "token-of-the-s3-server"
	notice := func(h http.Handler, header ...string) int {
		r := anEvent(strings.NewReader("x"), header...)
		r.URL.Path = "/v1/events/s3"
		status, _, _ := answerTo(t, h, r)
		return status
	}
	basic := func(password string) string {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth("any", password)
		return r.Header.Get("Authorization")
	}
	s := &intake{}
	h := s.handler(t, func(cfg *Config) { cfg.S3EventsToken = guard.NewToken(secret) })
	for header, want := range map[string]int{
		"Bearer " + secret: 202, "bearer  " + secret: 202, basic(secret): 202,
		"Bearer " + adminToken: 401, basic(adminToken): 401,
		"": 401, "Bearer": 401, "Bearer x": 401, basic(""): 401, basic("x"): 401, secret: 401, "Digest " + secret: 401,
	} {
		if got := notice(h, "Authorization", header); got != want {
			t.Errorf("Authorization: %q is %d, want %d", header, got, want)
		}
	}
	// The secret of one endpoint is refused by all others.
	r := httptest.NewRequest(
		http.MethodPost,
		"http://localhost/v1/purge",
		strings.NewReader(`{"source":"posts","name":"a"}`),
	)
	r.Header.Set("Authorization", "Bearer "+secret)
	if status, _, _ := answerTo(t, h, r); status != http.StatusUnauthorized {
		t.Errorf("a purge with the token of S3 notifications: %d", status)
	}
	none := s.handler(t, func(cfg *Config) { cfg.AdminToken = nil })
	if got := notice(none); got != http.StatusForbidden {
		t.Errorf("with nothing configured: %d", got)
	}
	dev := s.handler(t, func(cfg *Config) { cfg.AdminToken, cfg.Dev = nil, true })
	if got := notice(dev); got != http.StatusAccepted {
		t.Errorf("with --dev: %d", got)
	}
}

func aWarm(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/warm", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+adminToken)
	return r
}

func TestWarm_Post_QueuesPathsAndImages(t *testing.T) {
	s := &intake{}
	h := s.handler(t, nil)
	status, _, body := answerTo(t,
		h,
		aWarm(
			`{"paths":["/i/_/100x/v.1/posts/a.jpg.auto","/i/x/100x/v.1/posts/b.jpg.png"],"profile":"feed","images":[{"url":"https://cdn.app.example/a","tags":["post:p1"]}]}`,
		),
	)
	if status != http.StatusAccepted || !strings.Contains(body, `"accepted": 3`) || len(s.queued) != 1 {
		t.Fatalf("%d %s", status, body)
	}
	var refs []string
	for _, ref := range s.queued[0].Refs {
		refs = append(refs, ref.String())
	}
	if got := strings.Join(refs, " "); got != "/100x/v.1/posts/a.jpg.avif /100x/v.1/posts/a.jpg.webp /100x/v.1/posts/a.jpg.jpg /100x/v.1/posts/b.jpg.png" {
		t.Errorf("queued %s", got)
	}
	if q := s.queued[0]; q.Profile != "feed" || len(q.Images) != 1 || q.Images[0].Tags[0] != "post:p1" {
		t.Errorf("queued %+v", q)
	}
	for body, says := range map[string]string{
		`{}`:                              "is needed",
		`{"paths":["/i/_/100x/v.1/x/a"]}`: "paths[0]",
		`{"paths":["/i/_/100x/v.1/posts/a.png","/i/_/100x/v.1/nowhere/a.jpg"]}`: "paths[1]: no such source",
		`{"images":[{"url":"x"}]}`: "profile",
		`{"pahts":[]}`:             "pahts",
	} {
		status, _, got := answerTo(t, h, aWarm(body))
		if status != http.StatusBadRequest || !strings.Contains(got, says) {
			t.Errorf("%s: %d %s, want %q", body, status, got, says)
		}
	}
	many := `{"paths":["` + strings.Repeat(`a","`, maxWarmPaths) + `b"]}`
	if status, _, got := answerTo(t, h, aWarm(many)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("too many paths: %d %s", status, got)
	}
	r := aWarm(`{"paths":["/i/_/100x/v.1/posts/a.jpg"]}`)
	r.Header.Del("Authorization")
	if status, _, _ := answerTo(t, h, r); status != http.StatusUnauthorized {
		t.Errorf("without the token: %d", status)
	}
	if len(s.queued) != 1 {
		t.Errorf("a refused request was queued: %+v", s.queued[1:])
	}
}

func TestWarm_PostWait_StreamsOutcomes(t *testing.T) {
	s := &intake{release: make(chan struct{})}
	server := httptest.NewServer(s.handler(t, nil))
	defer server.Close()
	ask := func(body string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(
			t.Context(),
			http.MethodPost,
			server.URL+"/v1/warm",
			strings.NewReader(body),
		)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+adminToken)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	resp := ask(`{"wait":true,"paths":["/i/_/100x/v.1/posts/a.jpg.auto","/i/_/0x/v.1/posts/a.jpg"]}`)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(resp.Body)
	var got []string
	for lines.Scan() { // each line is sent while the next image is being made
		var line warmLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Error != nil {
			line.Outcome += fmt.Sprintf(" %d %s", line.Error.Status, line.Error.Title)
		}
		rest := line.Path[strings.Index(line.Path[3:], "/")+3:]
		got = append(got, rest+" "+line.Outcome)
		if len(got) > 1 {
			s.release <- struct{}{}
		}
	}
	want := "/0x/v.1/posts/a.jpg failed 400 Bad Request, /100x/v.1/posts/a.jpg.avif made, /100x/v.1/posts/a.jpg.webp hit, /100x/v.1/posts/a.jpg.jpg failed 404 Not Found"
	if strings.Join(got, ", ") != want || lines.Err() != nil {
		t.Errorf("%s, %v, want\n%s", strings.Join(got, ", "), lines.Err(), want)
	}
	s.err = fmt.Errorf("%w: images[0].url: no image prefix fits", service.ErrInvalid)
	resp = ask(`{"wait":true,"profile":"feed","images":[{"url":"x"}]}`)
	if resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("an invalid image: %s", resp.Status)
	}
}

// DeadLetters has two, with the ids 2 and 4.
func (s *intake) DeadLetters(_ context.Context, from uint64) ([]service.DeadLetter, uint64, error) {
	if from > 4 {
		return nil, 0, nil
	}
	return []service.DeadLetter{
		{
			ID:     from + 2,
			Died:   time.Unix(0, 0).UTC(),
			Reason: "broken\xff",
			What:   "a.jpg",
			Job:    json.RawMessage("{no JSON"),
		},
	}, from + 3, nil
}

func (s *intake) Retry(_ context.Context, ids []uint64) (int, error) {
	s.settled = fmt.Sprint("retry", ids)
	return max(len(ids), 7), nil
}

func (s *intake) Discard(_ context.Context, ids []uint64) (int, error) {
	return 0, fmt.Errorf("look: %w", service.ErrUnavailable)
}

func TestWarm_DeadLetters_ListedAndSettled(t *testing.T) {
	s := &intake{}
	h := s.handler(t, nil)
	status, _, body := answerTo(t, h, httptest.NewRequest(http.MethodGet, "http://localhost/v1/warm/dead?from=2", nil))
	var page struct {
		Dead []service.DeadLetter
		Next uint64
	}
	if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 || page.Next != 5 ||
		page.Dead[0].ID != 4 ||
		page.Dead[0].Reason != "broken?" {
		t.Errorf("%d %s %v", status, body, err)
	}
	status, _, body = answerTo(t, h, httptest.NewRequest(http.MethodGet, "http://localhost/v1/warm/dead?from=9", nil))
	if status != 200 || !strings.Contains(body, `"dead": []`) {
		t.Errorf("%d %s", status, body)
	}
	status, _, _ = answerTo(t, h, httptest.NewRequest(http.MethodGet, "http://localhost/v1/warm/dead?from=x", nil))
	if status != 400 {
		t.Errorf("from=x: %d", status)
	}
	settle := func(body string) (int, string) {
		r := aWarm(body)
		r.URL.Path = "/v1/warm/dead"
		status, _, text := answerTo(t, h, r)
		return status, text
	}
	if status, text := settle(`{"do":"retry","ids":[3,4]}`); status != 200 || !strings.Contains(text, `"settled": 7`) ||
		s.settled != "retry[3 4]" {
		t.Errorf("%d %s, %s", status, text, s.settled)
	}
	if status, _ := settle(`{"do":"discard"}`); status != http.StatusServiceUnavailable {
		t.Errorf("a queue that is not there: %d", status)
	}
	if status, _ := settle(`{"do":"what"}`); status != http.StatusBadRequest {
		t.Errorf("do what: %d", status)
	}
}
