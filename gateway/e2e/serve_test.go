package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// k6Query is The query of the load test.
const k6Query = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`

// fakes runs the three fake services in this process, over real gRPC.
func fakes(t *testing.T, cfg fakeservices.Config) *fakeservices.Server {
	t.Helper()
	s, err := fakeservices.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// serve starts the gateway in front of services, and waits until it is ready.
func serve(t *testing.T, s *fakeservices.Server, args ...string) *program {
	t.Helper()
	args = append([]string{"--image-base=https://img.example.com", "--log-format=json"}, args...)
	p := start(t, "imagetier-gateway", serveArgs(s, args...)...)
	until(t, "the gateway is ready", func() bool {
		status, _, _ := get(t, p.private+"/readyz")
		return status == http.StatusOK
	})
	return p
}

// serveArgs returns the arguments of a gateway in front of services.
func serveArgs(s *fakeservices.Server, args ...string) []string {
	return append([]string{
		"serve", "--feed=" + s.Addr(fakeservices.Feed), "--content=" + s.Addr(fakeservices.Content),
		"--user=" + s.Addr(fakeservices.User),
		"--keys=" + key, "--image-prefix=https://cdn.app.example/=posts",
	}, args...)
}

type answeredPost struct {
	ID                                           string
	Caption, ImageURL, ThumbnailURL, Placeholder *string
	LikeCount, CommentCount, Width, Height       int64
	Author                                       *struct{ ID, Username, AvatarURL string }
}

// answered is the answer to a query.
type answered struct {
	status int
	header http.Header
	body   string
	Data   struct {
		Feed *struct {
			Posts   []answeredPost
			Cursor  *string
			HasMore bool
		}
	}
	Errors []struct {
		Message    string
		Path       []any
		Extensions struct{ Code, Service string }
	}
}

func (a answered) codes() string {
	var all []string
	for _, err := range a.Errors {
		all = append(all, err.Extensions.Service+" "+err.Extensions.Code)
	}
	return strings.TrimSpace(strings.Join(all, ", "))
}

// ask sends a query.
func ask(t *testing.T, p *program, query string, variables map[string]any, headers ...string) (a answered) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	headers = append([]string{"Content-Type: application/json", "User-Agent: " + iPhone}, headers...)
	a.status, a.header, a.body = post(t, p.public+"/graphql", body, headers...)
	if err := json.Unmarshal([]byte(a.body), &a); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return a
}

func post(t *testing.T, url string, body []byte, headers ...string) (int, http.Header, string) {
	t.Helper()
	return send(t, http.MethodPost, url, body, headers...)
}

// The query of the load test over real gRPC, with the token and the headers of the script.
func TestServe_LoadTestQuery(t *testing.T) {
	services := fakes(t, fakeservices.Config{})
	gateway := serve(t, services, "--dev", "--test-token=test-token=user1")
	for range 30 {
		a := ask(t, gateway, k6Query, map[string]any{"limit": 20, "cursor": nil}, "Authorization: Bearer test-token")
		if a.status != http.StatusOK || len(a.Errors) > 0 || a.Data.Feed == nil || len(a.Data.Feed.Posts) != 20 {
			t.Fatalf("%d %.400s", a.status, a.body)
		}
		for _, p := range a.Data.Feed.Posts {
			if p.ImageURL == nil || p.ThumbnailURL == nil ||
				!strings.HasPrefix(*p.ThumbnailURL, "https://img.example.com/i/k1.") ||
				p.Author == nil ||
				p.Author.AvatarURL != "" && !strings.Contains(p.Author.AvatarURL, "/96x96-cover/") {
				t.Fatalf("%+v", p)
			}
		}
	}
	for name, n := range services.Counts() {
		if n.Accepted != 1 || n.Open != 1 {
			t.Errorf("the %s service has seen %+v", name, n)
		}
	}
}

// Consecutive pages have no post twice.
func TestServe_DistinctPosts(t *testing.T) {
	gateway := serve(t, fakes(t, fakeservices.Config{Data: fakeservices.Data{FeedLength: 50}}))
	seen := map[string]bool{}
	var cursor any
	for n := 1; ; n++ {
		a := ask(t, gateway, k6Query, map[string]any{"limit": 20, "cursor": cursor})
		for _, p := range a.Data.Feed.Posts {
			if seen[p.ID] {
				t.Errorf("%s is there twice", p.ID)
			}
			seen[p.ID] = true
		}
		if !a.Data.Feed.HasMore || n > 5 {
			if a.Data.Feed.Cursor != nil || len(seen) != 50 {
				t.Errorf("%d posts, cursor %v", len(seen), a.Data.Feed.Cursor)
			}
			break
		}
		cursor = *a.Data.Feed.Cursor
	}
	if a := ask(t, gateway, k6Query, map[string]any{"cursor": "none of theirs"}); a.codes() != "feed BAD_USER_INPUT" {
		t.Errorf("an invalid cursor: %s", a.body)
	}
}

// Partial answers: only a failed feed call is fatal. One user's cached page is not served to another user.
func TestServe_PartialAnswers(t *testing.T) {
	services := fakes(t, fakeservices.Config{})
	gateway := serve(t, services, "--dev", "--test-token=a=user-a", "--test-token=b=user-b", "--test-token=c=user-c")
	token := func(name string) string { return "Authorization: Bearer " + name }
	services.Behave(fakeservices.User, fakeservices.Behaviour{ErrorRate: 1})
	a := ask(t, gateway, k6Query, nil, token("a"))
	if a.status != 200 || a.codes() != "user UPSTREAM_ERROR" || len(a.Data.Feed.Posts) != 20 ||
		a.Data.Feed.Posts[0].Author != nil || a.Data.Feed.Posts[0].ThumbnailURL == nil ||
		fmt.Sprint(a.Errors[0].Path) != "[feed posts]" {
		t.Errorf("without users: %.400s", a.body)
	}
	services.Behave(fakeservices.Content, fakeservices.Behaviour{ErrorRate: 1})
	a = ask(t, gateway, k6Query, map[string]any{"limit": 100}, token("b"))
	if a.status != 200 || !strings.Contains(a.codes(), "content UPSTREAM_ERROR") || a.Data.Feed == nil {
		t.Errorf("without content: %.400s", a.body)
	}
	services.Behave(fakeservices.Feed, fakeservices.Behaviour{ErrorRate: 1})
	a = ask(t, gateway, k6Query, nil, token("c"))
	if a.status != 200 || a.codes() != "feed UPSTREAM_ERROR" || a.Data.Feed != nil ||
		strings.Contains(a.body, "rpc") || strings.Contains(a.body, "127.0.0.1") {
		t.Errorf("without feeds: %.400s", a.body)
	}
	// A cached page is still served.
	if a = ask(t, gateway, k6Query, nil, token("a")); a.Data.Feed == nil || len(a.Data.Feed.Posts) != 20 {
		t.Errorf("a cached page: %.400s", a.body)
	}
	_, _, metrics := get(t, gateway.private+"/metrics")
	for _, want := range []string{
		`imagetier_gateway_errors_total{code="UPSTREAM_ERROR"} `,
		`imagetier_gateway_upstream_calls_total{outcome="unavailable",service="feed"} `,
	} {
		if !regexp.MustCompile(regexp.QuoteMeta(want) + `[1-9]`).MatchString(metrics) {
			t.Errorf("%s is 0 or not there", want)
		}
	}
}

// A hanging service causes an error with its code in time.
func TestServe_HangingService(t *testing.T) {
	services := fakes(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: {Hang: true}},
	})
	gateway := serve(t, services, "--call-timeout=200ms")
	if a := ask(t, gateway, k6Query, nil); a.codes() != "feed UPSTREAM_TIMEOUT" || a.Data.Feed != nil {
		t.Errorf("%s", a.body)
	}
}

// It starts while its services are down, and becomes ready with them.
func TestServe_StartsWithServicesDown(t *testing.T) {
	dir := t.TempDir()
	listen := map[fakeservices.Service]string{}
	var args []string
	for _, name := range fakeservices.Services {
		listen[name] = "unix:" + filepath.Join(dir, string(name))
		args = append(args, "--"+string(name)+"="+listen[name])
	}
	gateway := start(t, "imagetier-gateway", append([]string{
		"serve", "--keys=" + key,
		"--image-prefix=https://cdn.app.example/=posts", "--image-base=https://img.example.com",
	}, args...)...)
	if status, _, body := get(t, gateway.private+"/readyz"); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, "not connected yet: content, feed, user") {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := get(t, gateway.private+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: status %d, want 200", status)
	}
	if a := ask(t, gateway, k6Query, nil); !strings.HasPrefix(a.codes(), "feed UPSTREAM_") {
		t.Errorf("%s", a.body)
	}
	services := fakes(t, fakeservices.Config{Listen: listen})
	until(t, "it is ready", func() bool {
		status, _, _ := get(t, gateway.private+"/readyz")
		return status == http.StatusOK
	})
	until(t, "pages are answered", func() bool {
		a := ask(t, gateway, k6Query, nil)
		return a.Data.Feed != nil && len(a.Data.Feed.Posts) == 20
	})
	// If a service is lost later, this gateway answers partially.
	services.Close()
	if status, _, body := get(t, gateway.private+"/readyz"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// Query limits, introspection and other methods, over HTTP.
func TestServe_InvalidQueries(t *testing.T) {
	services := fakes(t, fakeservices.Config{})
	gateway := serve(t, services)
	for query, code := range map[string]string{
		"{__schema{types{name}}}": "GRAPHQL_VALIDATION_FAILED",
		"{a:feed{cursor} b:feed{cursor} c:feed{cursor} d:feed{cursor} e:feed{cursor}}": "BAD_USER_INPUT",
		"{feed{posts{author{id{a{b{c}}}}}}}":                                           "BAD_USER_INPUT",
		"{feed{cursor}}" + strings.Repeat(" ", 20<<10):                                 "BAD_USER_INPUT",
		`mutation{batchLike(postIds:["p1"]){success}}`:                                 "UNAUTHENTICATED",
	} {
		if a := ask(t, gateway, query, nil); a.codes() != code {
			t.Errorf("%.60s: %s", query, a.body)
		}
	}
	url, kind := gateway.public+"/graphql", "Content-Type: application/json"
	if status, header, _ := get(t, url+"?query={feed{cursor}}"); status != http.StatusMethodNotAllowed ||
		header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", status, header)
	}
	long := bytes.Repeat([]byte(" "), 65<<10)
	if status, _, _ := post(t, url, long, kind); status != http.StatusRequestEntityTooLarge {
		t.Errorf("65 KiB: %d", status)
	}
	array := []byte(`[{"query":"{feed{cursor}}"}]`)
	if status, _, body := post(t, url, array, kind); status != http.StatusBadRequest ||
		!strings.Contains(body, "Batches are not supported") {
		t.Errorf("an array: %d %s", status, body)
	}
	for name, n := range services.Counts() {
		if n.Calls != 0 {
			t.Errorf("the %s service was asked %d times", name, n.Calls)
		}
	}
	dev := serve(t, services, "--dev")
	a := ask(t, dev, "{__schema{queryType{name}}}", nil)
	if a.body != `{"data":{"__schema":{"queryType":{"name":"Query"}}}}` {
		t.Errorf("%s", a.body)
	}
}

// The user and the algorithm of requests.
func TestServe_UserAndAlgorithm(t *testing.T) {
	asked := make(chan string, 10)
	services := fakes(t, fakeservices.Config{OnCall: func(method string, request any) {
		if strings.HasSuffix(method, "/GetFeed") {
			asked <- fmt.Sprint(request)
		}
	}})
	gateway := serve(t, services, "--dev", "--test-token=test-token=user1")
	other := serve(t, services, "--algorithm=new")
	for _, c := range []struct {
		of      *program
		headers []string
		want    []string
	}{
		{gateway, nil, []string{`user_id:"anonymous"`, `algorithm:"ch"`, `limit:20`}},
		{gateway, []string{"Authorization: Bearer test-token"}, []string{`user_id:"user1"`}},
		{other, nil, []string{`user_id:"anonymous"`, `algorithm:"new"`}},
	} {
		ask(t, c.of, k6Query, nil, c.headers...)
		got := strings.Join(strings.Fields(<-asked), " ")
		for _, want := range c.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s is not in what the feed service was asked: %s", want, got)
			}
		}
	}
	if a := ask(t, gateway, k6Query, nil, "Authorization: Bearer bad"); a.status != http.StatusUnauthorized ||
		a.codes() != "UNAUTHENTICATED" {
		t.Errorf("a bad token: %d %s", a.status, a.body)
	}
}

// At most 55 KB are allocated per request of 20 posts, by the program's own count: with all pages
// cached, and with a hit ratio of 70 %, the required minimum.
func TestServe_Allocations(t *testing.T) {
	services := fakes(t, fakeservices.Config{Data: fakeservices.Data{FeedLength: 2000}})
	gateway := serve(t, services, "--dev", "--test-token=test-token=user1")
	allocated := func() float64 {
		_, _, metrics := get(t, gateway.private+"/metrics")
		match := regexp.MustCompile(`(?m)^go_memstats_alloc_bytes_total (\S+)$`).FindStringSubmatch(metrics)
		if match == nil {
			t.Fatal("go_memstats_alloc_bytes_total is not in /metrics")
		}
		n, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var cursor any
	query := func() {
		a := ask(t, gateway, k6Query, map[string]any{"limit": 20, "cursor": cursor}, "Authorization: Bearer test-token")
		if a.Data.Feed == nil || len(a.Data.Feed.Posts) != 20 || a.Data.Feed.Cursor == nil {
			t.Fatalf("%s", a.body)
		}
		cursor = *a.Data.Feed.Cursor
	}
	for range 10 {
		query()
	}
	scrape := allocated()
	scrape = allocated() - scrape // the cost of scraping
	perRequest := func(n int, of func()) float64 {
		before := allocated()
		for range n {
			of()
		}
		return (allocated() - before - scrape) / float64(n)
	}
	fresh := perRequest(80, query)
	cursor = nil
	kept := perRequest(1000, func() { cursor = nil; query() })
	t.Logf("allocated bytes per request: %.0f for a cached page, %.0f for an uncached one",
		kept, fresh)
	if kept > 55_000 || .7*kept+.3*fresh > 55_000 {
		t.Errorf("allocated %.0f bytes for a cached page, %.0f for an uncached one", kept, fresh)
	}
}
