package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
)

const (
	frozen = 8 * time.Second
	// patience is the longest that a page may take while a service hangs: the 5 s call timeout and
	// some slack.
	patience = 5500 * time.Millisecond
)

// killRedis kills Redis in the first third of the run and restarts it in the second.
func killRedis(ctx context.Context, r *loadRun, whole time.Duration) error {
	if err := r.stack.Redis.Kill(); err != nil {
		return err
	}
	if err := after(ctx, whole/4); err != nil {
		return err
	}
	return r.stack.Redis.Restart(ctx)
}

// restartServices kills and restarts the services one after the other.
func restartServices(ctx context.Context, r *loadRun, whole time.Duration) error {
	for _, p := range []*stack.Process{r.stack.UserService, r.stack.ContentService, r.stack.FeedService} {
		if err := errors.Join(p.Kill(), p.Restart(ctx), after(ctx, whole/5)); err != nil {
			return err
		}
	}
	return nil
}

// asked is one query of a user and its result.
type asked struct {
	took  time.Duration
	posts int
	codes []string // of errors
	err   error
}

func (a asked) String() string {
	s := fmt.Sprintf("%d posts after %s", a.posts, a.took.Round(time.Millisecond))
	if len(a.codes) > 0 {
		s += " with " + strings.Join(a.codes, ", ")
	}
	if a.err != nil {
		s += " (" + a.err.Error() + ")"
	}
	return s
}

// ask asks for the first page of a user.
func (r *loadRun) ask(ctx context.Context, user string) (a asked) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	token, err := r.stack.Users.Token(user)
	if err != nil {
		return asked{err: err}
	}
	body := []byte(`{"query":"{ feed(limit: 20) { posts { id author { id } } } }"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.stack.Gateway, bytes.NewReader(body))
	if err != nil {
		return asked{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return asked{err: err}
	}
	defer resp.Body.Close()
	return readAnswer(resp)
}

func readAnswer(resp *http.Response) (a asked) {
	var page struct {
		Data struct {
			Feed *struct{ Posts []struct{ ID string } }
		}
		Errors []struct {
			Extensions struct{ Code string }
		}
	}
	if a.err = json.NewDecoder(resp.Body).Decode(&page); a.err != nil {
		return a
	}
	if resp.StatusCode != http.StatusOK {
		a.err = errors.New(resp.Status)
	}
	if page.Data.Feed != nil {
		a.posts = len(page.Data.Feed.Posts)
	}
	for _, e := range page.Errors {
		if !slices.Contains(a.codes, e.Extensions.Code) {
			a.codes = append(a.codes, e.Extensions.Code)
		}
	}
	return a
}

// freeze freezes a service while do runs.
func freeze(ctx context.Context, p *stack.Process, do func()) error {
	if err := p.Freeze(); err != nil {
		return err
	}
	var asking sync.WaitGroup
	asking.Go(do)
	err := after(ctx, frozen)
	err = errors.Join(err, p.Thaw())
	asking.Wait()
	return err
}

// strangers sends a query of each of several new users at once, and returns the results.
func (r *loadRun) strangers(ctx context.Context, name string) []asked {
	got := make([]asked, 10)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i] = r.ask(ctx, fmt.Sprintf("stranger-%s-%d", name, i)) })
	}
	all.Wait()
	return got
}

// staleAfter is how long the gateway waits for a service if it has a stale copy.
const staleAfter = time.Second

// freezePart freezes the content or the user service. Every user must get a page in time, partial
// or with stale data. At least one page must report an error or have waited for the stale copy;
// otherwise no request met the fault.
func freezePart(ctx context.Context, r *loadRun, name string, p *stack.Process) error {
	return freeze(ctx, p, func() {
		answered := 0
		worst := asked{}
		held := true
		for _, a := range r.strangers(ctx, name) {
			answered += len(a.codes)
			held = held && a.err == nil && a.took <= patience
			if a.took > worst.took || a.err != nil {
				worst = a
			}
		}
		r.probed = append(
			r.probed,
			verdictOf{
				name,
				fmt.Sprintf(
					"ten strangers while it is frozen, the slowest: %s; wanted a page, partial or with what is stale, within %s",
					worst,
					patience,
				),
				held && (answered > 0 || worst.took >= staleAfter),
			},
		)
	})
}

func freezeContent(ctx context.Context, r *loadRun, _ time.Duration) error {
	return freezePart(ctx, r, "content", r.stack.ContentService)
}

func freezeUser(ctx context.Context, r *loadRun, _ time.Duration) error {
	return freezePart(ctx, r, "user", r.stack.UserService)
}

// freezeFeed freezes the feed service, without which there is no page: a user whose page is cached
// still gets it, other users get an error in time.
func freezeFeed(ctx context.Context, r *loadRun, _ time.Duration) error {
	const reader = "reader-of-a-cached-page"
	if a := r.ask(ctx, reader); a.err != nil || a.posts == 0 {
		return fmt.Errorf("before the fault: %s", a)
	}
	return freeze(ctx, r.stack.FeedService, func() {
		cached, stranger := r.ask(ctx, reader), r.ask(ctx, "stranger-feed")
		r.probed = append(
			r.probed,
			verdictOf{
				"feed",
				fmt.Sprintf("a page that is cached while it is frozen: %s; wanted 20 posts at once", cached),
				cached.err == nil && cached.posts == 20 && cached.took < time.Second,
			},
			verdictOf{
				"feed",
				fmt.Sprintf("a stranger meanwhile: %s; wanted UPSTREAM_TIMEOUT within %s", stranger, patience),
				stranger.took <= patience && slices.Contains(stranger.codes, "UPSTREAM_TIMEOUT"),
			},
		)
	})
}
