package graph_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/graph"
)

// everyField has all fields of the schema.
const everyField = `posts { id userId caption imageUrl thumbnailUrl likeCount commentCount viewCount createdAt isLiked
	placeholder width height color author { id username avatarUrl } } cursor hasMore`

// aliases is a query for n aliases of imageUrl.
func aliases(n, limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{feed(limit:%d){posts{", limit)
	for i := range n {
		fmt.Fprintf(&b, "a%d:imageUrl ", i)
	}
	return b.String() + "}}}"
}

// hundred is a page of 100 posts.
func hundred() (p feed.Page) {
	for range 5 {
		p.Items = append(p.Items, twenty().Items...)
	}
	return p
}

func TestHandler_ServeHTTP_QueryCost(t *testing.T) {
	feeds := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "f%d:feed(limit:100){%s} ", i, everyField)
		}
		return "{" + b.String() + "}"
	}
	for name, row := range map[string]struct {
		query string
		cost  int // 0: accepted by default
	}{
		"the app's page":           {k6Query, 0},
		"all fields of 100 posts":  {feeds(1), 0},
		"the same four times":      {feeds(4), 0},
		"aliases":                  {aliases(494, 100), 2 + 100*494},
		"aliases, default limit":   {strings.Replace(aliases(494, 0), "(limit:0)", "", 1), 0},
		"a limit over the maximum": {aliases(494, 1_000_000), 2 + 100*494},
		"a limit in a variable": {
			strings.NewReplacer("{feed", "query($n:Int){feed", ":100)", ":$n)").Replace(aliases(494, 100)), 2 + 100*494,
		},
		"fragments": {
			"{feed(limit:100){...A ...A ...B}} fragment A on Feed {posts{id author{id}}} fragment B on Feed {posts{b:id}}", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, graph.Config{Feed: always(hundred()), MaxAnswerBytes: 1 << 30, AnswersMemory: 1 << 40})
			a := ask(t, h, query(row.query, map[string]any{"n": 100}))
			switch want := fmt.Sprintf("costs %d, the maximum is 10000 (--max-query-cost)", row.cost); {
			case row.cost == 0 && a.codes() != "":
				t.Errorf("refused: %.300s", a.body)
			case row.cost > 0 && (a.codes() != "BAD_USER_INPUT" || !strings.Contains(a.body, want)):
				t.Errorf("%.300s, want %q", a.body, want)
			}
		})
	}
}

func TestHandler_ServeHTTP_MaxAnswerBytes(t *testing.T) {
	long := hundred()
	for _, item := range long.Items {
		item.Post.Caption = strings.Repeat("a", 100<<10)
	}
	h := newHandler(t, graph.Config{Feed: always(long)})
	a := ask(t, h, query("{feed(limit:100){posts{caption}}}", nil))
	if a.codes() != "BAD_USER_INPUT" || !strings.Contains(a.body, "2097152 bytes (--max-answer-bytes)") {
		t.Errorf("%.300s", a.body)
	}
	if len(a.body) > 1000 {
		t.Errorf("the refusal has %d bytes", len(a.body))
	}
	if a := ask(t, h, query("{feed(limit:10){posts{id}}}", nil)); a.codes() != "" {
		t.Errorf("a short answer is refused: %.300s", a.body)
	}
}

// stuck is the writer of an answer whose client does not read.
type stuck struct {
	http.ResponseWriter
	begun chan struct{}
	leave chan struct{}
	once  sync.Once
}

func (w *stuck) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.leave
	return w.ResponseWriter.Write(p)
}

// While large answers wait for clients that do not read, small answers still fit. Large answers
// release their memory at the end.
func TestHandler_ServeHTTP_AnswersMemory(t *testing.T) {
	const memory = 8 << 20
	h := newHandler(t, graph.Config{Feed: always(hundred()), AnswersMemory: memory})
	large := query(aliases(90, 100), nil)
	leave := make(chan struct{})
	var waiting sync.WaitGroup
	held := 0
	for {
		w := &stuck{ResponseWriter: httptest.NewRecorder(), begun: make(chan struct{}), leave: leave}
		waiting.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(large))
			r.Header.Set("Content-Type", "application/json")
			h.ServeHTTP(w, r)
		})
		<-w.begun
		if code := w.ResponseWriter.(*httptest.ResponseRecorder).Code; code != http.StatusOK {
			break // refused, and also waiting to be written
		}
		if held++; held > 100 {
			t.Fatal("100 large answers were accepted")
		}
	}
	if held == 0 {
		t.Error("no large answer was accepted")
	}
	if a := ask(t, h, large); a.status != http.StatusServiceUnavailable || a.codes() != "OVERLOADED" ||
		a.header.Get("Retry-After") != "1" {
		t.Errorf("a large answer: %d %.300s", a.status, a.body)
	}
	if a := ask(t, h, query(k6Query, map[string]any{"limit": 20})); a.codes() != "" {
		t.Errorf("the app's page beside %d large answers: %.300s", held, a.body)
	}
	close(leave)
	waiting.Wait()
	if a := ask(t, h, large); a.codes() != "" {
		t.Errorf("afterwards a large answer is refused: %.300s", a.body)
	}
}
