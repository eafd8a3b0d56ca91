package phone

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// feedOf answers the query with a page, and all other requests with a picture.
func feedOf(page string) func(*http.Request) (int, string) {
	return func(req *http.Request) (int, string) {
		if req.Method == http.MethodPost {
			return http.StatusOK, page
		}
		return http.StatusOK, jpeg
	}
}

const page = `{"data":{"feed":{"posts":[
	{"imageUrl":"https://img/o1","thumbnailUrl":"https://img/t1","author":{"avatarUrl":"https://img/u1"}},
	{"imageUrl":"https://img/o2","thumbnailUrl":null,"author":{"avatarUrl":"https://img/u2"}},
	{"imageUrl":"https://img/o3","thumbnailUrl":"https://img/t3","author":{"avatarUrl":"https://img/u1"}},
	{"imageUrl":null,"thumbnailUrl":null,"author":null}]}}}`

// The query takes a second, and each picture a second.
func TestFeed_ScreenBeforeRowsBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{takes: time.Second, answer: feedOf(page)}
		p := New(s)
		v, err := p.Open(t.Context(), Server{URL: "https://api/graphql", Token: "test-token"}, 20)
		if err != nil {
			t.Fatal(err)
		}
		for moment, took := range map[string][2]time.Duration{
			"the page":  {v.Answered.Sub(v.Asked), 1 * time.Second},
			"screen":    {v.Screen.Sub(v.Asked), 2 * time.Second},
			"all of it": {v.Whole.Sub(v.Asked), 3 * time.Second},
		} {
			if took[0] != took[1] {
				t.Errorf("%s was there after %s, want %s", moment, took[0], took[1])
			}
		}
		got := s.paths()
		slices.Sort(got[1:5]) // six at once, in any order
		if want := []string{"/graphql", "/o2", "/t1", "/u1", "/u2", "/t3"}; !slices.Equal(got, want) {
			t.Errorf("requested %q, want %q", got, want)
		}
		if screen, whole := v.Bytes(); v.Posts != 4 || v.OnScreen != 4 || v.Downloads() != 5 ||
			screen != int64(len(page)+4*len(jpeg)) ||
			whole != int64(len(page)+5*len(jpeg)) {
			t.Errorf("%d posts, %d pictures on the screen, %d downloads, %d and %d bytes",
				v.Posts, v.OnScreen, v.Downloads(), screen, whole)
		}
		again, err := p.Open(t.Context(), Server{URL: "https://api/graphql"}, 20)
		if err != nil || again.Downloads() != 0 || again.Whole.Sub(again.Asked) != time.Second {
			t.Errorf("again: %d downloads in %s, %v", again.Downloads(), again.Whole.Sub(again.Asked), err)
		}
	})
}

func TestFeed_SendsLoadTestQuery(t *testing.T) {
	s := &script{answer: feedOf(page)}
	if _, _, err := New(s).Feed(t.Context(), Server{URL: "https://api/graphql", Token: "test-token"}, 20); err != nil {
		t.Fatal(err)
	}
	req := s.asked[0]
	body, _ := req.GetBody()
	text, _ := io.ReadAll(body)
	var asked struct {
		Query     string
		Variables map[string]any
	}
	if err := json.Unmarshal(text, &asked); err != nil ||
		!strings.HasPrefix(asked.Query, "query GetFeed($limit: Int, $cursor: String)") ||
		asked.Variables["limit"] != 20.0 ||
		asked.Variables["cursor"] != nil {
		t.Errorf("%+v, %v", asked, err)
	}
	if req.Header.Get("Authorization") != "Bearer test-token" || req.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", req.Header)
	}
}

func TestFeed_InvalidPage(t *testing.T) {
	for _, page := range []string{
		``, `{}`, `{"data":{"feed":{"posts":[]}}}`, `{"data":{"feed":null},"errors":[{"message":"late"}]}`,
	} {
		server := Server{URL: "https://api/graphql"}
		if _, err := New(&script{answer: feedOf(page)}).Open(t.Context(), server, 20); err == nil {
			t.Errorf("%s was taken for a page", page)
		}
	}
}
