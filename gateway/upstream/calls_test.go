package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
	"github.com/novasocial/imagetier/internal/circuit"
)

func TestServices_Call_Timeout(t *testing.T) {
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: {Hang: true}},
	})
	s := reach(t, at(fakes, upstream.Config{CallTimeout: 500 * time.Millisecond}))
	began := time.Now()
	err := getFeed(s)
	if !errors.Is(err, feed.ErrTimeout) || errors.Is(err, feed.ErrUnavailable) {
		t.Errorf("%v, want ErrTimeout", err)
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("the call ended after %v, before its timeout", took)
	}
}

// The caller's deadline for the whole request applies to calls.
func TestServices_Call_CallerDeadline(t *testing.T) {
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: {Hang: true}},
	})
	s := reach(t, at(fakes, upstream.Config{CallTimeout: time.Hour, Wait: time.Hour}))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := s.Feeds.Slice(ctx, firstPage)
	if !errors.Is(err, feed.ErrTimeout) {
		t.Errorf("%v, want ErrTimeout", err)
	}
}

func TestServices_Call_ExpiredCaller(t *testing.T) {
	fakes := play(t, fakeservices.Config{})
	s := reach(t, at(fakes, upstream.Config{}))
	untilReady(t, s)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for range 10 {
		if _, err := s.Feeds.Slice(ctx, firstPage); !errors.Is(err, feed.ErrTimeout) {
			t.Errorf("%v, want ErrTimeout", err)
		}
	}
	if n := fakes.Counts()[fakeservices.Feed].Calls; n > 0 || s.States()[upstream.Feed] != circuit.Closed {
		t.Errorf("%d calls reached the service, want 0; breaker %v, want closed", n, s.States()[upstream.Feed])
	}
}

func TestServices_Call_ErrorsByStatus(t *testing.T) {
	for code, want := range map[codes.Code]error{
		codes.Canceled:           feed.ErrUnavailable,
		codes.Unknown:            feed.ErrUnavailable,
		codes.InvalidArgument:    feed.ErrInvalid,
		codes.DeadlineExceeded:   feed.ErrTimeout,
		codes.AlreadyExists:      feed.ErrInvalid,
		codes.PermissionDenied:   feed.ErrInvalid,
		codes.ResourceExhausted:  feed.ErrUnavailable,
		codes.FailedPrecondition: feed.ErrInvalid,
		codes.Aborted:            feed.ErrUnavailable,
		codes.OutOfRange:         feed.ErrInvalid,
		codes.Unimplemented:      feed.ErrUnavailable,
		codes.Internal:           feed.ErrUnavailable,
		codes.Unavailable:        feed.ErrUnavailable,
		codes.DataLoss:           feed.ErrUnavailable,
		codes.Unauthenticated:    feed.ErrUnavailable,
	} {
		t.Run(code.String(), func(t *testing.T) {
			how := fakeservices.Behaviour{ErrorRate: 1, Code: code}
			fakes := play(t, fakeservices.Config{Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
				fakeservices.Feed: how, fakeservices.Content: how, fakeservices.User: how,
			}})
			s := reach(t, at(fakes, upstream.Config{CallTimeout: soon, Wait: soon}))
			ctx := t.Context()
			_, posts := s.Contents.Posts(ctx, []string{"p000001"})
			_, profiles := s.Users.Profiles(ctx, []string{"u00001"})
			like := s.Contents.Like(ctx, feed.Likes{User: "u", Posts: []string{"p000001"}, Like: true, Key: "k"})
			for method, err := range map[string]error{
				"Slice": getFeed(s), "Posts": posts, "Profiles": profiles, "Like": like,
			} {
				for _, sentinel := range []error{feed.ErrInvalid, feed.ErrTimeout, feed.ErrUnavailable} {
					if errors.Is(err, sentinel) != (sentinel == want) {
						t.Errorf("%s: %v, want %v", method, err, want)
					}
				}
				if errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v looks as if the caller had left", method, err)
				}
			}
		})
	}
}

func TestServices_Call_NotFound(t *testing.T) {
	how := fakeservices.Behaviour{ErrorRate: 1, Code: codes.NotFound}
	fakes := play(t, fakeservices.Config{Behaviour: map[fakeservices.Service]fakeservices.Behaviour{
		fakeservices.Feed: how, fakeservices.Content: how, fakeservices.User: how,
	}})
	s := reach(t, at(fakes, upstream.Config{CallTimeout: soon, Wait: soon}))
	ctx := t.Context()
	if page, err := s.Feeds.Slice(ctx, firstPage); err != nil || len(page.IDs) > 0 || page.HasMore {
		t.Error("first page: ", page, err)
	}
	second := firstPage
	second.Cursor = "after:20"
	if _, err := s.Feeds.Slice(ctx, second); !errors.Is(err, feed.ErrInvalid) {
		t.Errorf("a cursor that is not found: %v, want ErrInvalid", err)
	}
	if posts, err := s.Contents.Posts(ctx, []string{"p000001"}); err != nil || len(posts) > 0 {
		t.Error(posts, err)
	}
	if profiles, err := s.Users.Profiles(ctx, []string{"u00001"}); err != nil || len(profiles) > 0 {
		t.Error(profiles, err)
	}
	like := feed.Likes{User: "u", Posts: []string{"p000001"}, Key: "k"}
	if err := s.Contents.Like(ctx, like); !errors.Is(err, feed.ErrInvalid) {
		t.Errorf("a like of a post that is not found: %v, want ErrInvalid", err)
	}
}

func TestServices_Call_RetriesOnce(t *testing.T) {
	fakes := play(t, fakeservices.Config{
		Behaviour: map[fakeservices.Service]fakeservices.Behaviour{fakeservices.Feed: {ErrorRate: 0.5}},
	})
	s := reach(t, at(fakes, upstream.Config{CallTimeout: soon, Wait: soon}))
	for range 2 { // the service fails the first attempt of the second call
		if err := getFeed(s); err != nil {
			t.Error(err)
		}
	}
	fakes.Reset()
	fakes.Behave(fakeservices.Feed, fakeservices.Behaviour{ErrorRate: 1})
	if err := getFeed(s); !errors.Is(err, feed.ErrUnavailable) {
		t.Error(err)
	}
	if n := fakes.Counts()[fakeservices.Feed].Calls; n != 2 {
		t.Errorf("%d calls reached the service, want 2", n)
	}
}

func TestServices_Call_InvalidUTF8(t *testing.T) {
	fakes := play(t, fakeservices.Config{})
	s := reach(t, at(fakes, upstream.Config{}))
	ctx, bad := t.Context(), "\xff"
	for range 10 {
		_, slice := s.Feeds.Slice(ctx, feed.Query{User: "u", Limit: 20, Cursor: bad})
		_, posts := s.Contents.Posts(ctx, []string{"p000001", bad})
		_, profiles := s.Users.Profiles(ctx, []string{bad})
		like := s.Contents.Like(ctx, feed.Likes{User: "u", Posts: []string{"p000001"}, Key: bad})
		for _, err := range []error{slice, posts, profiles, like} {
			if !errors.Is(err, feed.ErrInvalid) {
				t.Fatalf("%v, want ErrInvalid", err)
			}
		}
	}
	for name, state := range s.States() {
		if state != circuit.Closed {
			t.Errorf("%s's breaker is %v", name, state)
		}
	}
	for name, n := range fakes.Counts() {
		if n.Calls > 0 {
			t.Errorf("%s was asked", name)
		}
	}
}

func TestServices_Call_NoIDs(t *testing.T) {
	fakes := play(t, fakeservices.Config{})
	s := reach(t, at(fakes, upstream.Config{}))
	posts, err := s.Contents.Posts(t.Context(), nil)
	profiles, err2 := s.Users.Profiles(t.Context(), nil)
	if len(posts)+len(profiles) > 0 || err != nil || err2 != nil {
		t.Error(posts, profiles, err, err2)
	}
	for name, n := range fakes.Counts() {
		if n.Calls > 0 {
			t.Errorf("%s was asked", name)
		}
	}
}

func TestServices_Call_MaxAnswer(t *testing.T) {
	fakes := play(t, fakeservices.Config{})
	s := reach(t, at(fakes, upstream.Config{MaxMessage: 100, CallTimeout: soon, Wait: soon}))
	if err := getFeed(s); !errors.Is(err, feed.ErrUnavailable) || !strings.Contains(err.Error(), "larger than max") {
		t.Errorf("%v, want ErrUnavailable for its size", err)
	}
}

func TestServices_Call_Observed(t *testing.T) {
	fakes := play(t, fakeservices.Config{})
	var mu sync.Mutex
	var seen []string
	s := reach(t, at(fakes, upstream.Config{
		CallTimeout: soon, Wait: soon, Breaker: circuit.Config{Failures: 1, Pause: time.Hour},
		Observe: func(service, method string, how upstream.Outcome, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if took < 0 || took > soon {
				t.Errorf("%s took %v", method, took)
			}
			seen = append(seen, fmt.Sprint(service, " ", method, " ", how))
		},
	}))
	ctx := t.Context()
	gone, leave := context.WithCancel(ctx)
	leave()
	_, _ = s.Users.Profiles(gone, []string{"u00001"})
	_, _ = s.Users.Profiles(ctx, []string{"u00001"})
	_, _ = s.Contents.Posts(ctx, []string{"p000001"})
	_ = s.Contents.Like(ctx, feed.Likes{User: "u", Posts: []string{"p999999"}, Key: "k"})
	_, _ = s.Feeds.Slice(ctx, feed.Query{User: "u", Limit: 20, Cursor: "?"})
	fakes.Behave(fakeservices.Feed, broken)
	_, _ = getFeed(s), getFeed(s)
	fakes.Behave(fakeservices.User, fakeservices.Behaviour{ErrorRate: 1, Code: codes.DeadlineExceeded})
	_, _ = s.Users.Profiles(ctx, []string{"u00001"})
	want := []string{
		"user GetUserProfilesByIds canceled",
		"user GetUserProfilesByIds ok",
		"content GetPostsByIds ok",
		"content BatchLike not_found",
		"feed GetFeed invalid",
		"feed GetFeed unavailable",
		"feed GetFeed breaker_open",
		"user GetUserProfilesByIds timeout",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
}
