package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

const pageQuery = `{"query":"{ feed { posts { id thumbnailUrl author { avatarUrl } } } }"}`

// startServe runs serve with fake services in this process.
func startServe(t *testing.T, cfg fakeservices.Config, args ...string) (*testGateway, *fakeservices.Server) {
	t.Helper()
	s, err := fakeservices.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	g := start(
		t,
		append(
			[]string{
				"serve",
				"--feed=" + s.Addr(fakeservices.Feed),
				"--content=" + s.Addr(fakeservices.Content),
				"--user=" + s.Addr(fakeservices.User),
				"--image-base=https://img.example.com",
				"--image-prefix=https://cdn.app.example/=posts",
				"--keys=k1=" + hexKey,
			},
			args...)...)
	waitFor(t, g.private+"/readyz", "ready")
	return g, s
}

func query(t *testing.T, g *testGateway, body string) string {
	t.Helper()
	resp, err := http.Post(g.public+"/graphql", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The gateway exports metrics, zeros included, and drains: readiness fails first, and requests in
// flight complete.
func TestServeCmd_Run(t *testing.T) {
	entered := make(chan struct{}, 1)
	hold := make(chan struct{})
	var holding atomic.Bool
	g, services := startServe(t, fakeservices.Config{OnCall: func(method string, _ any) {
		if strings.HasSuffix(method, "/GetFeed") && holding.Load() {
			entered <- struct{}{}
			<-hold
		}
	}})
	for range 3 {
		if body := query(t, g, pageQuery); strings.Count(body, `"thumbnailUrl":"https://img.example.com/i/k1.`) != 20 {
			t.Fatalf("%s", body)
		}
	}
	query(t, g, `{"query":"{nothing}"}`)
	if status, body := get(t, g.public+"/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := get(t, g.public+"/metrics"); status != 404 {
		t.Errorf("metrics on the public listener: %d", status)
	}
	wantMetrics(t, g.private,
		`imagetier_gateway_requests_total{operation="feed",status="2xx"} 3`,
		`imagetier_gateway_requests_total{operation="like",status="5xx"} 0`,
		`imagetier_gateway_request_duration_seconds_count{operation="feed"} 3`,
		`imagetier_gateway_errors_total{code="GRAPHQL_VALIDATION_FAILED"} 1`,
		`imagetier_gateway_errors_total{code="UPSTREAM_TIMEOUT"} 0`,
		`imagetier_gateway_upstream_calls_total{outcome="ok",service="feed"} 1`,
		`imagetier_gateway_upstream_calls_total{outcome="breaker_open",service="user"} 0`,
		`imagetier_gateway_upstream_call_duration_seconds_count{service="content"} 1`,
		`imagetier_gateway_breaker_state{service="redis"} 0`, `imagetier_gateway_breaker_state{service="feed"} 0`,
		`imagetier_gateway_connected{service="user"} 1`, `imagetier_gateway_connected{service="redis"} 1`,
		`imagetier_gateway_cache_ids_total{kind="post",outcome="memory"} 40`,
		`imagetier_gateway_cache_ids_total{kind="post",outcome="miss"} 20`,
		`imagetier_gateway_cache_ids_total{kind="page",outcome="redis"} 0`,
		`imagetier_gateway_stale_pages_total{service="content"} 0`,
		`imagetier_gateway_events_total{outcome="forged",type="unknown"} 0`, `mode="serve"`,
		"go_sched_pauses_total_gc_seconds_bucket", "process_resident_memory_bytes",
		"go_goroutines",
	)
	if n := services.Counts()[fakeservices.Feed]; n.Accepted != 1 {
		t.Errorf("feed service: %+v", n)
	}

	holding.Store(true)
	answer := make(chan string, 1)
	go func() { answer <- query(t, g, strings.Replace(pageQuery, "feed {", "feed(limit: 7) {", 1)) }()
	<-entered
	g.stop()
	waitFor(t, g.private+"/readyz", "draining")
	close(hold)
	if body := <-answer; strings.Count(body, `"thumbnailUrl"`) != 7 {
		t.Errorf("in flight: %s", body)
	}
	if code := <-g.code; code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Calls to the services and to the tier are spans of the client's trace.
func TestServeCmd_Run_Traces(t *testing.T) {
	sent := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent <- string(body)
	}))
	defer collector.Close()
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	asked := make(chan string, 1)
	tier := httptest.NewServer(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("Traceparent") }),
	)
	defer tier.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	g, _ := startServe(t, fakeservices.Config{}, "--tier="+tier.URL, "--admin-token=admin-token-of-tests")
	req, err := http.NewRequestWithContext(
		t.Context(),
		http.MethodPost,
		g.public+"/graphql",
		strings.NewReader(`{"query":"{feed{posts{color}}}"}`),
	)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-asked; !strings.Contains(got, id) {
		t.Errorf("the tier got trace %q", got)
	}
	g.stop()
	if code := <-g.code; code != 0 {
		t.Errorf("exit code %d", code)
	}
	var all strings.Builder
	for len(sent) > 0 {
		all.WriteString(<-sent)
	}
	for _, span := range []string{
		"POST /graphql", "feed.RecommendationService/GetFeed",
		"content.ContentService/GetPostsByIds", "user.UserService/GetUserProfilesByIds",
		"HTTP POST",
	} {
		if !strings.Contains(all.String(), span) {
			t.Errorf("no span %s", span)
		}
	}
}

// The gateway stays ready when a service fails later.
func TestReadiness_Of_Latches(t *testing.T) {
	var r readiness
	if err := r.of(map[string]bool{"feed": true, "content": false, "user": false}); err == nil ||
		err.Error() != "not connected yet: content, user" {
		t.Errorf("%v", err)
	}
	if err := r.of(map[string]bool{"feed": true, "content": true, "user": true}); err != nil {
		t.Error(err)
	}
	if err := r.of(map[string]bool{"feed": false, "content": true, "user": true}); err != nil {
		t.Errorf("not ready after a failure: %v", err)
	}
}
