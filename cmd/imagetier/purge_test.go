package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeTier is a fake private listener: it records requests, and answers with status and body.
func fakeTier(t *testing.T, status int, body string) (environ []string, requests *[]string) {
	t.Helper()
	requests = new([]string)
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		*requests = append(*requests,
			fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), sent))
		w.WriteHeader(status)
		fmt.Fprintln(w, body)
	}))
	t.Cleanup(tier.Close)
	return []string{
		"IMAGETIER_PRIVATE_LISTEN=" + strings.TrimPrefix(tier.URL, "http://"),
		"IMAGETIER_ADMIN_TOKEN=secret-of-the-tier",
	}, requests
}

const aReceipt = `{"variants":3,"originals":1,"bytes":12345,"nodes":{"applied":1,"known":1}}`

func TestPurge_PrintsReceipt(t *testing.T) {
	for _, c := range []struct {
		args     []string
		requests []string
		out      string
	}{
		{[]string{"purge", "--source", "posts", "--name", "a b.jpg"},
			[]string{`POST /v1/purge Bearer secret-of-the-tier {"source":"posts","name":"a b.jpg"}`},
			"posts a b.jpg: purged: 3 variants, 1 originals, 12345 bytes; 1 of 1 nodes\n"},
		{[]string{"purge", "--soft", "--tag", "post:p1"},
			[]string{`POST /v1/purge Bearer secret-of-the-tier {"tag":"post:p1","soft":true}`},
			"post:p1: purged: 3 variants, 1 originals, 12345 bytes; 1 of 1 nodes\n"},
		{[]string{"purge", "--json", "https://img.example.com/i/_/640x/live/posts/a.jpg.webp?x=1",
			"/i/_/orig/live/posts/a.jpg"},
			[]string{
				`POST /v1/purge Bearer secret-of-the-tier {"path":"/i/_/640x/live/posts/a.jpg.webp"}`,
				`POST /v1/purge Bearer secret-of-the-tier {"path":"/i/_/orig/live/posts/a.jpg"}`,
			},
			aReceipt + "\n" + aReceipt + "\n"},
		{[]string{"purge", "--dry-run", "--tag", "post:p1"},
			[]string{`POST /v1/purge Bearer secret-of-the-tier {"tag":"post:p1","dry_run":true}`},
			"post:p1: would be purged: 3 variants, 1 originals, 12345 bytes; 1 of 1 nodes\n"},
		{[]string{"takedown", "--source", "posts", "--name", "a.jpg"},
			[]string{`POST /v1/takedown Bearer secret-of-the-tier {"source":"posts","name":"a.jpg"}`},
			"posts a.jpg: taken down: 3 variants, 1 originals, 12345 bytes; 1 of 1 nodes\n"},
		{[]string{"takedown", "--lift", "--source", "posts", "--name", "a.jpg"},
			[]string{`DELETE /v1/takedown Bearer secret-of-the-tier {"source":"posts","name":"a.jpg"}`},
			"posts a.jpg: lifted: 3 variants, 1 originals, 12345 bytes; 1 of 1 nodes\n"},
	} {
		environ, requests := fakeTier(t, http.StatusOK, aReceipt)
		code, out, errs := command(t, environ, c.args...)
		if code != 0 || out != c.out || errs != "" {
			t.Errorf("%v: exit code %d, %q, %q; want %q", c.args, code, out, errs, c.out)
		}
		if !slices.Equal(*requests, c.requests) {
			t.Errorf("%v: the tier received %q, want %q", c.args, *requests, c.requests)
		}
	}
}

func TestTakedown_List(t *testing.T) {
	const since = "2026-11-23T10:00:00Z"
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		t.Fatal(err)
	}
	down := func(name string) string { return fmt.Sprintf(`{"source":"posts","name":"%s","since":%q}`, name, since) }
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method + " " + r.URL.String() {
		case "GET /v1/takedown?":
			fmt.Fprintf(w, `{"takedowns":[%s],"next":"name=a+b.jpg&source=posts"}`, down("a b.jpg"))
		case "GET /v1/takedown?name=a+b.jpg&source=posts":
			fmt.Fprintf(w, `{"takedowns":[%s]}`, down(`c\u001b.jpg`))
		default:
			t.Errorf("request %s %s", r.Method, r.URL)
		}
	}))
	t.Cleanup(tier.Close)
	listen := strings.TrimPrefix(tier.URL, "http://")
	code, out, errs := command(t, nil, "takedown", "--list", "--private-listen", listen)
	local := at.Local().Format("2006-01-02 15:04:05")
	if want := local + "  posts a b.jpg\n" + local + `  "posts c`; code != 0 || errs != "" ||
		!strings.HasPrefix(out, want) || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d, %q, %q; want %q", code, out, errs, want)
	}
	code, out, _ = command(t, nil, "takedown", "--list", "--json", "--private-listen", listen)
	if want := down("a b.jpg") + "\n"; code != 0 || !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 2 {
		t.Errorf("exit code %d, %q; want two lines, the first %q", code, out, want)
	}
}

func TestTakedown_Incomplete_PrintsReasons(t *testing.T) {
	environ, _ := fakeTier(t, http.StatusAccepted,
		`{"nodes":{"applied":1,"known":2},"superseded":true,"waiting":"The log is full."}`)
	_, out, _ := command(t, environ, "takedown", "--source", "posts", "--name", "a.jpg")
	const want = "1 of 2 nodes; superseded: a newer takedown or lift holds; waiting: The log is full.\n"
	if !strings.HasSuffix(out, want) {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestPurge_Refused_SaysWhy(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		says   string
	}{
		{http.StatusBadRequest, `{"title":"Bad Request","detail":"There is no source \"x\"."}`,
			`There is no source "x".`},
		{http.StatusUnauthorized, "{}", "--admin-token"},
		{http.StatusInternalServerError, "what\x1b[2J", "500: what [2J"},
		{http.StatusOK, "no receipt", "read the answer"},
	} {
		environ, _ := fakeTier(t, c.status, c.body)
		code, out, errs := command(t, environ, "purge", "--source", "x", "--name", "a.jpg")
		if code != 1 || out != "" || !strings.Contains(errs, c.says) {
			t.Errorf("%d %s: exit code %d, %q, %q; want %q", c.status, c.body, code, out, errs, c.says)
		}
	}
	code, _, errs := command(t, nil, "purge", "--private-listen", "127.0.0.1:1", "--source", "x", "--name", "a.jpg")
	if code != 1 || !strings.Contains(errs, "does not answer") {
		t.Errorf("without a tier: %d %s", code, errs)
	}
}

func TestPurge_WrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"purge"}, {"takedown"}, {"purge", "--source", "posts"}, {"takedown", "--name", "a.jpg"},
		{"purge", "--source", "posts", "--name", "a.jpg", "--tag", "post:p1"},
		{"purge", "https://img.example.com"}, {"purge", "/healthz"},
		{"takedown", "--list", "--lift"}, {"takedown", "--list", "--tag", "post:p1"},
	} {
		environ, requests := fakeTier(t, http.StatusOK, aReceipt)
		if code, _, errs := command(t, environ, args...); code != 2 || errs == "" || len(*requests) != 0 {
			t.Errorf("%v: exit code %d, %q, the tier received %q", args, code, errs, *requests)
		}
	}
}
