package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

func TestRun_ListensAndStops(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{
			"--http", "127.0.0.1:0", "--before", "127.0.0.1:0", "--empty-feed", "newuser", "--feed-latency", "1ms",
		}, in, io.Discard)
		in.Close()
	}()
	at := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		name, addr, _ := strings.Cut(lines.Text(), "\t")
		at[name] = addr
	}
	for _, name := range []string{"feed", "content", "user", "http", "before"} {
		if at[name] == "" {
			t.Fatalf("no address of %s in the output: %v", name, at)
		}
	}
	r, err := http.NewRequestWithContext(ctx, "POST", at["before"]+"/graphql", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer newuser")
	if got := body(t, r); got != `{"data":{"feed":{"posts":[],"cursor":null,"hasMore":false}}}` {
		t.Errorf("an empty feed before: %s", got)
	}
	r, err = http.NewRequestWithContext(ctx, "GET", at["http"]+"/connections", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, r); !strings.Contains(got, `"feed":{"accepted":1,`) {
		t.Errorf("connections: %s", got)
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("run did not return within 30 s")
	}
}

func body(t *testing.T, r *http.Request) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestRun_Flags(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.JPG", "a.webp", "README.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := parse([]string{
		"--services", "content,user", "--content", "127.0.0.1:7001", "--feed", "127.0.0.1:7000",
		"--content-latency", "100ms", "--content-error-rate", "0.5", "--user-hang", "--connect-latency", "80ms",
		"--images-prefix", "https://x/", "--images-dir", dir, "--avatar-names", "me.jpg", "--unknown-every", "7",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	c := o.config
	if len(c.Listen) != 2 || c.Listen[fakeservices.Content] != "127.0.0.1:7001" ||
		o.addrs[fakeservices.Feed] != "127.0.0.1:7000" {
		t.Errorf("listens at %v, finds %v", c.Listen, o.addrs)
	}
	want := fakeservices.Behaviour{Latency: 100 * time.Millisecond, ErrorRate: 0.5}
	if c.Behaviour[fakeservices.Content] != want || !c.Behaviour[fakeservices.User].Hang {
		t.Errorf("behaves as %+v", c.Behaviour)
	}
	if !slices.Equal(c.Data.Images, []string{"a.webp", "b.JPG"}) || !slices.Equal(c.Data.Avatars, []string{"me.jpg"}) ||
		c.Data.Prefix != "https://x/" || c.Data.UnknownEvery != 7 || c.ConnectLatency != 80*time.Millisecond {
		t.Errorf("%+v", c)
	}
}

func TestParse_InvalidFlags(t *testing.T) {
	for _, args := range [][]string{
		{"--services", "feeds"},
		{"--services", ""},
		{"--images-dir", t.TempDir()},
		{"--before", "127.0.0.1:0", "--services", "feed"},
		{"serve"},
		{"--no-such-flag"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
	if err := run(t.Context(), []string{"--before", "nowhere"}, io.Discard, io.Discard); err == nil ||
		errors.Is(err, context.Canceled) {
		t.Errorf("an invalid address: %v", err)
	}
}
