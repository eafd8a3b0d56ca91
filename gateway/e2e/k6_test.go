package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/testutil"
)

// k6 returns the path of the k6 that make k6 has built.
func k6(t *testing.T) string {
	t.Helper()
	return testutil.Command(t, "make k6", filepath.Join(os.Getenv("IMAGETIER_TOOLS"), "k6"))
}

// asked records the requests of the scripts.
type asked struct {
	mu     sync.Mutex
	tokens map[string]int
	faults []string
}

// scripted answers feed queries with the result of answer, and records them.
func scripted(t *testing.T, answer func(w http.ResponseWriter)) (*asked, string) {
	a := &asked{tokens: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var request struct {
			Query     string
			Variables map[string]any
		}
		err := json.Unmarshal(body, &request)
		a.mu.Lock()
		a.tokens[r.Header.Get("Authorization")]++
		if cursor, given := request.Variables["cursor"]; err != nil ||
			r.Method != http.MethodPost || r.URL.Path != "/graphql" ||
			r.Header.Get("Content-Type") != "application/json" ||
			request.Query != seedQuery || request.Variables["limit"] != 20.0 || cursor != nil || !given {
			a.faults = append(a.faults, fmt.Sprintf("%s %s %v %s (%v)", r.Method, r.URL, r.Header, body, err))
		}
		a.mu.Unlock()
		answer(w)
	}))
	t.Cleanup(server.Close)
	return a, server.URL + "/graphql"
}

const seedQuery = `query GetFeed($limit: Int, $cursor: String) { feed(limit: $limit, cursor: $cursor) { posts { id caption imageUrl thumbnailUrl likeCount commentCount author { id username avatarUrl } } cursor hasMore } }`

// summary is the final output of a script.
type summary struct {
	Requests, Failed, Empty, Partial int
	P95                              float64
	Crossed                          []string
}

// play runs a script for two seconds, and reports whether all thresholds held.
func play(t *testing.T, script, url string, env ...string) (s summary, held bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "summary.json")
	args := []string{"run", "--quiet", "--no-usage-report", "--address="}
	for _, e := range append([]string{"URL=" + url, "SUMMARY=" + file, "DURATION=2s",
		"RAMP=1s", "HOLD=1s", "USERS=5", "RATE=10"}, env...) {
		args = append(args, "-e", e)
	}
	out, err := exec.CommandContext(t.Context(), k6(t), append(args, "../../deploy/k6/"+script)...).CombinedOutput()
	var exit *exec.ExitError
	const crossed = 99 // k6's exit code for a missed threshold
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != crossed) {
		t.Fatalf("k6: %v\n%s", err, out)
	}
	text, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatalf("%v\n%s", readErr, out)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s, err == nil
}

const onePost = `{"data":{"feed":{"posts":[{"id":"p1"}],"cursor":null,"hasMore":false}}}`

// Query, variables and headers are the same in every scenario.
func TestK6_Scenarios(t *testing.T) {
	for _, script := range []string{"normal.js", "open.js", "spike.js", "endurance.js"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			a, url := scripted(t, func(w http.ResponseWriter) { fmt.Fprint(w, onePost) })
			s, _ := play(t, script, url) // a busy machine may miss thresholds, which the next test covers
			if s.Requests == 0 || s.Failed != 0 || s.Empty != 0 || s.Partial != 0 || len(a.faults) > 0 {
				t.Errorf("%+v, %q", s, a.faults)
			}
			if n := a.tokens["Bearer test-token"]; n != s.Requests {
				t.Errorf("%d of %d requests have the seed's token: %v", n, s.Requests, a.tokens)
			}
		})
	}
}

func TestK6_Tokens(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("a\nb\nc\nd\ne\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, url := scripted(t, func(w http.ResponseWriter) { fmt.Fprint(w, onePost) })
	play(t, "normal.js", url, "TOKENS="+tokens)
	for _, token := range strings.Split("abcde", "") {
		if a.tokens["Bearer "+token] == 0 {
			t.Errorf("no request with token %s: %v", token, a.tokens)
		}
	}
}

// Each of these gateways has one fault, which the thresholds of every scenario detect.
func TestK6_Failure(t *testing.T) {
	for name, gateway := range map[string]struct {
		answer  func(w http.ResponseWriter)
		crossed string
	}{
		"errors": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, "http_req_failed rate<0.01"},
		"empty": {func(w http.ResponseWriter) { fmt.Fprint(w, `{"data":{"feed":{"posts":[]}}}`) },
			"checks{check:has posts} rate>0.99"},
		"slow": {func(w http.ResponseWriter) { time.Sleep(600 * time.Millisecond); fmt.Fprint(w, onePost) },
			"http_req_duration p(95)<500"},
	} {
		for _, script := range []string{"normal.js", "open.js", "spike.js", "endurance.js"} {
			t.Run(name+" "+script, func(t *testing.T) {
				t.Parallel()
				_, url := scripted(t, gateway.answer)
				if s, held := play(t, script, url); held || !strings.Contains(fmt.Sprint(s.Crossed), gateway.crossed) {
					t.Errorf("held: %v, %+v", held, s)
				}
			})
		}
	}
}

func TestK6_PartialPage(t *testing.T) {
	_, url := scripted(t, func(w http.ResponseWriter) {
		fmt.Fprint(w,
			onePost[:len(onePost)-1]+`,"errors":[{"message":"late","extensions":{"code":"UPSTREAM_TIMEOUT"}}]}`)
	})
	if s, _ := play(t, "normal.js", url); s.Partial == 0 || s.Partial != s.Requests {
		t.Errorf("%+v", s)
	}
}
