package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/guard"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/origin"
)

// store is a fake of everything that the private listener calls. It records the calls.
type store struct {
	mu     sync.Mutex
	purged []string
	broken bool
}

func (s *store) Purge(_ context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return s.record("", target)
}

// record records a call, in one step because purges run concurrently.
func (s *store) record(how string, target imagecache.Target) (imagecache.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return imagecache.Receipt{}, errors.New("disk at /secret/internal.d is read-only")
	}
	if target.Key != (imagecache.Key{}) {
		s.purged = append(s.purged, how+target.Key.String())
		return imagecache.Receipt{Variants: 1, Bytes: 100}, nil
	}
	s.purged = append(s.purged, how+target.Original.Source+" "+target.Original.Name)
	return imagecache.Receipt{Variants: 3, Originals: 1, Bytes: 4000}, nil
}

// Count records its call as "count".
func (s *store) Count(_ context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return s.record("count ", target)
}

// PurgesTag is called before the targets of a tag are purged.
func (s *store) PurgesTag() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purged = append(s.purged, "tag")
}

// SoftPurge, Takedown and Lift record their calls as "soft", "down" and "lift".
func (s *store) SoftPurge(_ context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return s.record("soft ", target)
}

func (s *store) Takedown(_ context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	return s.record("down ", imagecache.Target{Original: of})
}

func (s *store) Lift(_ context.Context, of imagecache.Original) (imagecache.Receipt, bool, error) {
	_, err := s.record("lift ", imagecache.Target{Original: of})
	r := imagecache.Receipt{Applied: 2, Known: 3, Superseded: true, Waiting: "The log is full."}
	return r, of.Name == "cat.jpg" && err == nil, err
}

// Takedowns returns pages of 1,500 takedowns in the order of their names.
func (s *store) Takedowns(after imagecache.Original, limit int) (page []Takedown) {
	for n := range 1500 {
		name := fmt.Sprintf("%04d ü.jpg", n)
		if name > after.Name && len(page) < limit {
			page = append(page, Takedown{imagecache.Original{Source: "posts", Name: name}, apitest.Noon})
		}
	}
	return page
}

// TakenDown is true for one name.
func (s *store) TakenDown(of imagecache.Original) bool { return of.Name == "down.jpg" }

// Explain holds webp variants in memory, live ones 30 s old, and jpg ones as a refusal.
func (s *store) Explain(_ context.Context, ref imageurl.Ref) []imagecache.Held {
	key := imagecache.KeyOf(ref)
	switch {
	case strings.HasSuffix(key.String(), ".webp"):
		held := imagecache.Held{Where: imagecache.Memory, Key: key, Bytes: 5, TTL: imagecache.PinnedTTL,
			Image: imagecache.Image{ContentType: "image/webp", ETag: `"tag"`, LastModified: apitest.Noon}}
		if ref.Version().Pin() == imageurl.Live {
			held.TTL, held.StaleIfError = 70*time.Second, time.Minute
			held.Image.Fresh = imagecache.Freshness{
				Generated: apitest.Noon.Add(-30 * time.Second),
				Until:     apitest.Noon.Add(70 * time.Second),
			}
			held.Image.Origin.ETag = `"o"`
		}
		return []imagecache.Held{held}
	case strings.HasSuffix(key.String(), ".jpg.jpg"):
		return []imagecache.Held{{Where: imagecache.Negative, Key: key, TTL: 7 * time.Second, Err: origin.ErrNotFound}}
	}
	return nil
}

// List has two folders and an original, and no second page. The source sites cannot be listed.
func (s *store) List(_ context.Context, source string, req origin.ListRequest) (origin.Listing, bool, error) {
	if req.Folder == "none/" {
		return origin.Listing{}, true, origin.ErrNotFound
	}
	return origin.Listing{
		Folders: []string{req.Folder + "a/"},
		Objects: []origin.Listed{{Name: req.Folder + "cat.jpg", Bytes: int64(req.Limit), Modified: apitest.Noon}},
		Next:    "cat.jpg",
	}, source != "sites", nil
}

func (s *store) direct(t *testing.T, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch line {
	case "fails":
		s.broken = true
	case "works":
		s.broken = false
	default:
		t.Fatalf("cache %s: what?", line)
	}
}

// asked returns the calls recorded since the last call of asked.
func (s *store) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	purged := strings.Join(s.purged, ", ")
	s.purged = nil
	return purged
}

// Tagged knows the tag post:p1 only, and does not know whether post:behind has originals.
func (s *store) Tagged(_ context.Context, tag string) ([]imagecache.Original, error) {
	switch tag {
	case "post:p1":
		return []imagecache.Original{{Source: "posts", Name: "cat.jpg"}, {Source: "posts", Name: "dog.jpg"}}, nil
	case "post:behind":
		return nil, errors.New("tags may be missing: NATS is away")
	}
	return nil, nil
}

// fakeOperator answers with its parts. A call of a part that is nil panics.
type fakeOperator struct {
	*store
	*intake
	info     func(context.Context, imageurl.Ref) (imagecache.Image, error)
	stats    func() any
	notReady error
}

func (o *fakeOperator) Info(ctx context.Context, ref imageurl.Ref) (imagecache.Image, error) {
	return o.info(ctx, ref)
}
func (o *fakeOperator) Ready() error              { return o.notReady }
func (o *fakeOperator) Stats(context.Context) any { return o.stats() }

const adminToken = "0f4cdb62c6be4d0d"

func privateConfig(t testing.TB, s *store) Config {
	answers := &httpapi.OriginAnswers{}
	ref, err := imageurl.ParseRef("/640x480/v.1/posts/gone.jpg.jpg")
	if err != nil {
		t.Fatal(err)
	}
	answers.Note(
		ref,
		imagecache.Outcome{Forward: imagecache.URIMiss, Detail: imagecache.FromOrigin, Status: 404},
		origin.ErrNotFound,
		apitest.Noon,
	)
	return Config{
		Signer:   apitest.NewSigner(t),
		Operator: &fakeOperator{store: s, stats: func() any { return map[string]int{"requests": 7} }},
		Catalog:  httpapi.Catalog{Sources: map[string]httpapi.Source{"posts": {}, "sites": {}}},
		Origins:  answers,
		Metrics: http.HandlerFunc(
			func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "imagetier_requests_total 7\n") },
		),
		Console: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "console "+r.URL.Path) },
		),
		Now: func() time.Time { return apitest.Noon },
	}
}

// The directories of testdata/private are three configurations: with a token, without one, and
// without one but with --dev.
func TestPrivateConversations(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"token":  func(cfg *Config) { cfg.AdminToken = guard.NewToken(adminToken) },
		"closed": func(cfg *Config) { cfg.Metrics, cfg.Console = nil, nil },
		"dev":    func(cfg *Config) { cfg.Dev = true },
	} {
		files, _ := filepath.Glob("testdata/" + name + "/*.txt")
		if len(files) == 0 {
			t.Errorf("no responses for %s", name)
		}
		for _, file := range files {
			t.Run(name+"/"+strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
				s := &store{}
				cfg := privateConfig(t, s)
				change(&cfg)
				c := &apitest.Conversation{
					Addr:   serve(t, New(cfg)),
					Signer: cfg.Signer,
					Host:   "127.0.0.1:8081",
					Direct: s.direct,
					Asked:  s.asked,
					Common: func(t *testing.T, got *apitest.Exchange) {
						if got.Response.StatusCode >= 400 {
							apitest.ProblemCommon(t, got)
						}
						if got.Target != "/v1/stats" { // the fake has none
							req, err := http.NewRequest(got.Method, "http://localhost"+got.Target, nil)
							if err != nil {
								t.Fatal(err)
							}
							apitest.Described(t, req, got.Response.StatusCode, got.Response.Header, []byte(got.Body))
						}
						if h := got.Response.Header; h.Get("X-Request-Id") == "" ||
							h.Get("Cache-Control") != "no-store" ||
							h.Get("Access-Control-Allow-Origin") != "" {
							t.Errorf("%s: headers %v", got.Target, h)
						}
					},
				}
				c.Run(t, file)
			})
		}
	}
}

func TestReadyz_Get_FollowsOperator(t *testing.T) {
	cfg := privateConfig(t, &store{})
	op := &fakeOperator{}
	cfg.Operator = op
	h := New(cfg)
	for _, step := range []struct {
		why  error
		path string
		want int
	}{
		{nil, "/readyz", http.StatusOK},
		{errors.New("draining"), "/readyz", http.StatusServiceUnavailable},
		{errors.New("draining"), "/healthz", http.StatusOK}, // it lives until it has ended
		{nil, "/readyz", http.StatusOK},
	} {
		op.notReady = step.why
		got := apitest.Call(h, http.MethodGet, step.path, nil)
		if got.Code != step.want || step.want != 200 && !strings.Contains(got.Body.String(), "draining") {
			t.Errorf("%s while %v: %d %s", step.path, step.why, got.Code, got.Body)
		}
	}
}

func TestPprof_Get_ServesAllButCmdline(t *testing.T) {
	addr := serve(t, New(privateConfig(t, &store{})))
	for path, want := range map[string]int{
		"/debug/pprof/":                      200,
		"/debug/pprof":                       200, // redirected
		"/debug/pprof/heap?debug=1":          200,
		"/debug/pprof/goroutine?debug=1":     200,
		"/debug/pprof/profile?seconds=1":     200,
		"/debug/pprof/trace?seconds=0.01":    200,
		"/debug/pprof/symbol":                200,
		"/debug/pprof/cmdline":               404,
		"/debug/pprof/nothing-of-that-name/": 404,
	} {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want || len(body) == 0 {
			t.Errorf("%s: %s, %d bytes, %v; want %d", path, resp.Status, len(body), err, want)
		}
	}
}

func TestPurge_Post_LimitsBody(t *testing.T) {
	s := &store{}
	cfg := privateConfig(t, s)
	cfg.Dev = true
	h := New(cfg)
	post := func(body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/purge", strings.NewReader(body))
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for body, want := range map[string]int{
		`{"source":"posts","name":"` + strings.Repeat("a", imageurl.MaxName) + `"}`:   http.StatusOK,
		`{"source":"posts","name":"` + strings.Repeat("a", imageurl.MaxName+1) + `"}`: http.StatusBadRequest,
		`{"source":"posts","name":"` + strings.Repeat("a", maxPrivateBody) + `"}`:     http.StatusRequestEntityTooLarge,
		`{"source":"posts","name":"a"}` + strings.Repeat(" ", maxPrivateBody):         http.StatusRequestEntityTooLarge,
	} {
		if got := post(body); got.Code != want {
			t.Errorf("%d bytes: %d %s, want %d", len(body), got.Code, got.Body, want)
		}
	}
}

func TestHandler_Panic_Is500(t *testing.T) {
	cfg := privateConfig(t, &store{})
	cfg.Operator = &fakeOperator{stats: func() any { panic("secret") }}
	got := apitest.Call(New(cfg), http.MethodGet, "/v1/stats", nil)
	if got.Code != http.StatusInternalServerError || strings.Contains(got.Body.String(), "secret") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	cfg.Operator = &fakeOperator{stats: func() any { return func() {} }} // which JSON cannot write
	if got := apitest.Call(New(cfg), http.MethodGet, "/v1/stats", nil); got.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func FuzzNew_ServeHTTP(f *testing.F) {
	apitest.AddTargets(f)
	h := New(privateConfig(f, &store{}))
	f.Fuzz(func(t *testing.T, method, target, name, value string) {
		apitest.CheckAnswered(t, h, method, target, name, value)
	})
}
