package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/program/programtest"
	"github.com/novasocial/imagetier/internal/warmlist"
)

// warmOrder is the body of POST /v1/warm.
type warmOrder struct {
	adminclient.WarmRequest
	Wait bool
}

// warmTier is a private listener that answers POST /v1/warm: items with "gone" fail, items with
// "here" are hits. It closes the connection in the middle of the answer to its nth request, unless
// n is 0.
type warmTier struct {
	mu      sync.Mutex // guards all below
	orders  []warmOrder
	breakAt int
	crowded int // requests that are refused at first
}

func (s *warmTier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var order warmOrder
	if r.Header.Get("Authorization") != "Bearer secret-of-the-tier" || json.NewDecoder(r.Body).Decode(&order) != nil ||
		!order.Wait {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.crowded--; s.crowded >= 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	s.orders = append(s.orders, order)
	var paths []string
	paths = append(paths, order.Paths...)
	for _, image := range order.Images {
		paths = append(paths, string(image))
	}
	for i, path := range paths {
		if s.breakAt == len(s.orders) && i == len(paths)/2 {
			panic(http.ErrAbortHandler)
		}
		answer := map[string]any{"path": path, "outcome": "made"}
		switch {
		case strings.Contains(path, "gone"):
			answer["outcome"], answer["error"] = "failed", map[string]any{"status": 404, "title": "Not Found"}
		case strings.Contains(path, "here"):
			answer["outcome"] = "hit"
		}
		_ = json.NewEncoder(w).Encode(answer)
		_ = http.NewResponseController(w).Flush()
	}
}

func startWarmer(t *testing.T, s *warmTier) (environ []string) {
	tier := httptest.NewServer(s)
	t.Cleanup(tier.Close)
	return []string{
		"IMAGETIER_PRIVATE_LISTEN=" + strings.TrimPrefix(tier.URL, "http://"),
		"IMAGETIER_ADMIN_TOKEN=secret-of-the-tier",
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWarm_ReadsPathsURLsImagesAndLogs(t *testing.T) {
	s := &warmTier{}
	list := file(t, `# yesterday
/i/_/880x/v.1/posts/a.jpg.webp
https://img.example.com/i/k1.AAAAAAAAAAAAAAAAAAAAAA/880x/v.1/posts/a.jpg.webp?x=1

192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "GET /i/_/880x/v.1/posts/here.jpg.webp HTTP/1.1" 200 5120
192.0.2.1 - frank [23/Nov/2026:10:00:00 +0000] "GET https://img.example.com/i/_/440x/v.1/posts/b.jpg.webp?y HTTP/2.0" 304 0 "https://app.example/" "Phone \"7\""
192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "GET /i/_/880x/v.1/posts/refused.jpg.webp HTTP/1.1" 403 120
192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "POST /i/_/880x/v.1/posts/posted.jpg.webp HTTP/1.1" 200 120
192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "GET /healthz HTTP/1.1" 200 3
192.0.2.1 - - [23/Nov/2026:10:00:00 +0000] "\x16\x03\x01" 400 150
{"time":"2026-11-23T10:00:00Z","msg":"request","method":"GET","path":"/i/_/64x/v.1/posts/c.jpg.webp","status":200}
{"time":"2026-11-23T10:00:00Z","level":"INFO","msg":"serving"}
{"path":"/i/_/64x/v.1/posts/gone.jpg.webp"}
{"source":"posts","name":"d e.jpg","version":"v.1"}
{"url":"https://cdn.app.example/e.jpg","profile":"avatar"}
https://cdn.app.example/f.jpg
nonsense
`)
	code, out, errs := command(t, startWarmer(t, s), "warm", "--profile", "grid", list)
	if code != 1 || !strings.HasPrefix(out, "8 images: 1 hit, 6 made, 1 failed; 1 invalid lines; ") {
		t.Errorf("exit code %d, %q", code, out)
	}
	if !strings.Contains(errs, "/i/_/64x/v.1/posts/gone.jpg.webp: 404 Not Found") ||
		!strings.Contains(errs, "line 17: neither a path") {
		t.Errorf("standard error is %q", errs)
	}
	var asked []string
	for _, order := range s.orders {
		for _, path := range order.Paths {
			asked = append(asked, order.Profile+" "+path)
		}
		for _, image := range order.Images {
			asked = append(asked, order.Profile+" "+string(image))
		}
	}
	slices.Sort(asked)
	want := []string{
		" /i/_/440x/v.1/posts/b.jpg.webp", " /i/_/64x/v.1/posts/c.jpg.webp", " /i/_/64x/v.1/posts/gone.jpg.webp",
		" /i/_/880x/v.1/posts/a.jpg.webp", " /i/_/880x/v.1/posts/here.jpg.webp",
		`avatar {"url":"https://cdn.app.example/e.jpg"}`,
		`grid {"source":"posts","name":"d e.jpg","version":"v.1"}`,
		`grid {"url":"https://cdn.app.example/f.jpg"}`,
	}
	slices.Sort(want)
	if !slices.Equal(asked, want) {
		t.Errorf("requested\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

// A line that is too long is skipped, as is a binary one, and a packed file is unpacked.
func TestWarm_ReadsPackedLogsOfServices(t *testing.T) {
	lines := []string{
		"#Version: 1.0",
		strings.Repeat("a", 200_000),
		"2026-11-23\t10:00:00\tFRA6\t5120\t192.0.2.1\tGET\td1.cloudfront.net\t/i/_/880x/v.1/posts/a.jpg.webp\t200\t-\tPhone",
		"2026-11-23\t10:00:00\tFRA6\t120\t192.0.2.1\tGET\td1.cloudfront.net\t/i/_/880x/v.1/posts/refused.jpg.webp\t403\t-\tPhone",
		"\x00\x01\xff \x02",
		"https 2026-11-23T10:00:00.1Z app/lb/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 5120 " +
			`"GET https://img.example.com:443/i/_/880x/v.1/posts/b.jpg.webp HTTP/1.1" "Phone" - - arn:aws "Root=1"`,
		"https 2026-11-23T10:00:00.1Z app/lb/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 0.086 0.048 0.037 404 404 0 120 " +
			`"GET https://img.example.com:443/i/_/880x/v.1/posts/gone.jpg.webp HTTP/1.1" "Phone" - - arn:aws "Root=1"`,
		strings.Repeat("b", 65536),
	}
	for name, pack := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	} {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			for _, part := range [][]string{lines[:3], lines[3:]} { // like two concatenated files
				w, err := pack(&packed)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(w, strings.Join(part, "\n")+"\n")
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			environ := startWarmer(t, &warmTier{})
			for _, in := range []string{file(t, packed.String()), "-"} {
				code, out, errs := imagetierWith(t, packed.String(), environ, "warm", in)
				if code != 1 || !strings.HasPrefix(out, "2 images: 0 hit, 2 made, 0 failed; 3 invalid lines; ") {
					t.Errorf("exit code %d, %q", code, out)
				}
				for _, want := range []string{
					"line 2: the line has more than 65536 bytes", "line 5: ", "line 8: the line has",
				} {
					if !strings.Contains(errs, want) {
						t.Errorf("standard error is %q, want %q in it", errs, want)
					}
				}
			}
			cut := file(t, packed.String()[:packed.Len()-20])
			code, _, errs := command(t, environ, "warm", cut)
			if code != 1 || !strings.Contains(errs, "unexpected EOF") {
				t.Errorf("a truncated file: exit code %d, standard error %q", code, errs)
			}
		})
	}
}

func TestWarm_NoImage_Fails(t *testing.T) {
	list := file(t, "192.0.2.1 - - [x] \"GET /healthz HTTP/1.1\" 200 3\n")
	code, _, errs := command(t, startWarmer(t, &warmTier{}), "warm", list)
	if code != 1 || !strings.Contains(errs, "no line names an image") || !strings.Contains(errs, "/i/") {
		t.Errorf("exit code %d, it says %q", code, errs)
	}
}

func TestWarm_JSON(t *testing.T) {
	code, out, errs := imagetierWith(
		t,
		"/i/_/1x/v.1/posts/here.jpg.webp\n/i/_/1x/v.1/posts/a.jpg.webp\n",
		startWarmer(t, &warmTier{crowded: 1}),
		"warm",
		"--json",
		"-",
	)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var sums warmlist.Counts
	if code != 0 || errs != "" || len(lines) != 3 || json.Unmarshal([]byte(lines[2]), &sums) != nil ||
		sums.Images != 2 ||
		sums.Hit != 1 ||
		sums.Made != 1 {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
}

// imagetierWith runs a command that reads stdin.
func imagetierWith(t *testing.T, stdin string, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return programtest.Run(t, newProgram(), programtest.Command{Args: args, Environ: environ, Stdin: stdin})
}

// An interrupted run continues after the last batch that was answered completely.
func TestWarm_Resumes(t *testing.T) {
	var list strings.Builder
	for i := range 3*warmBatch + 10 {
		fmt.Fprintf(&list, "/i/_/%dx/v.1/posts/a.jpg.webp\n", i+1)
	}
	s := &warmTier{breakAt: 3}
	environ, path, state := startWarmer(t, s), file(t, list.String()), filepath.Join(t.TempDir(), "state")
	code, _, errs := command(t, environ, "warm", "--state", state, path)
	if code != 1 || !strings.Contains(errs, fmt.Sprintf("continues after line %d", 2*warmBatch)) {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	other := file(t, "/i/_/1x/v.1/posts/a.jpg.webp\n")
	if code, _, errs := command(t, environ, "warm", "--state", state, other); code != 1 ||
		!strings.Contains(errs, "the state file of another input") {
		t.Errorf("another input: exit code %d, %q", code, errs)
	}
	s.mu.Lock()
	s.orders, s.breakAt = nil, 0
	s.mu.Unlock()
	code, out, errs := command(t, environ, "warm", "--state", state, path)
	if code != 0 ||
		!strings.HasPrefix(out, fmt.Sprintf("%d images: 0 hit, %d made, 0 failed; ", 3*warmBatch+10, 3*warmBatch+10)) {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if len(s.orders) != 2 || s.orders[0].Paths[0] != fmt.Sprintf("/i/_/%dx/v.1/posts/a.jpg.webp", 2*warmBatch+1) {
		t.Errorf("%d requests, the first for %q", len(s.orders), s.orders[0].Paths[0])
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the state is still there when all is done: %v", err)
	}
}

func TestWarm_WrongUsageAndNoTier(t *testing.T) {
	list := file(t, "/i/_/1x/v.1/posts/a.jpg.webp\n")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"warm"}, 2, "name one file"},
		{[]string{"warm", "a", "b"}, 2, "name one file"},
		{[]string{"warm", "--retry", list}, 2, "go with --dead"},
		{[]string{"warm", "--dead", "--retry", "--discard"}, 2, "not both"},
		{[]string{"warm", "--dead", "x"}, 2, "not the number"},
		{[]string{"warm", filepath.Join(t.TempDir(), "none")}, 2, "no such file"},
		{[]string{"warm", "--private-listen", "127.0.0.1:1", list}, 1, "the tier does not answer"},
		{[]string{"warm", "--private-listen", "127.0.0.1:1", "--dead"}, 1, "the tier does not answer"},
	} {
		if code, _, errs := command(t, nil, c.args...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit code %d, %q, want %d and %q", c.args, code, errs, c.code, c.says)
		}
	}
	environ := startWarmer(t, &warmTier{})
	if code, _, errs := command(t, environ, "warm", "--admin-token", "another-token-of-16", list); code != 1 ||
		!strings.Contains(errs, "--admin-token") {
		t.Errorf("another token: exit code %d, %q", code, errs)
	}
}

func TestWarmDead_ListRetryDiscard(t *testing.T) {
	var posted []string
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			posted = append(posted, r.URL.Path+" "+string(body))
			fmt.Fprintln(w, `{"settled":2}`)
		case r.URL.RawQuery == "from=0":
			fmt.Fprintln(
				w,
				`{"dead":[{"id":3,"died":"2026-11-24T10:00:00Z","attempts":6,"reason":"origin down","what":"v.1/posts/a.jpg"}],"next":4}`,
			)
		default:
			fmt.Fprintln(
				w,
				`{"dead":[{"id":9,"died":"2026-11-24T10:00:01Z","attempts":1,"reason":"broken","what":"v.1/posts/b.jpg"}]}`,
			)
		}
	}))
	defer tier.Close()
	environ := []string{"IMAGETIER_PRIVATE_LISTEN=" + strings.TrimPrefix(tier.URL, "http://")}
	code, out, errs := command(t, environ, "warm", "--dead")
	if code != 0 || !strings.Contains(out, "3  ") ||
		!strings.Contains(out, "6 attempts  v.1/posts/a.jpg: origin down\n") ||
		!strings.Contains(out, "v.1/posts/b.jpg: broken\n") {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if _, out, _ := command(t, environ, "warm", "--dead", "--json", "9"); strings.Count(out, "\n") != 1 ||
		!strings.Contains(out, `"id":9`) {
		t.Errorf("%q", out)
	}
	if code, out, errs := command(t, environ, "warm", "--dead", "--retry"); code != 0 ||
		out != "2 dead letters queued again\n" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	if code, out, errs := command(t, environ, "warm", "--dead", "--discard", "9"); code != 0 ||
		out != "2 dead letters discarded\n" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	want := []string{`/v1/warm/dead {"do":"retry"}`, `/v1/warm/dead {"do":"discard","ids":[9]}`}
	if !slices.Equal(posted, want) {
		t.Errorf("posted %q, want %q", posted, want)
	}
}

func TestProgress_FitsTerminal(t *testing.T) {
	p := &progress{size: 1000}
	line := p.line(warmlist.Counts{Images: 90210, Hit: 40000, Made: 50000, Failed: 210}, 455, 100*time.Second)
	if want := "[=====       ]  46%  90210 images 902/s  hit 40000 made 50000 failed 210"; line != want ||
		len(line) > 79 {
		t.Errorf("%q (%d columns), want %q", line, len(line), want)
	}
}
