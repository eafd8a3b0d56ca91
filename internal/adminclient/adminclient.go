// Package adminclient talks to the private listener of a running program, for the
// commands that ask or change something there.
//
// [Client] has a method for each request. It returns a [*Error] for an error status, and
// [ErrNoAnswer] if the listener cannot be reached.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client asks one private listener.
type Client struct {
	Listen string // address that the program listens on, host:port; the host may be empty
	Token  string // admin token; "" sends none
	// Timeout limits a whole exchange, and each pause in the answer of Warm; 0 is no limit.
	Timeout time.Duration

	transport http.RoundTripper // nil: a new connection for each request
}

// ErrNoAnswer is the error of a request that got no answer, or only a part of it.
var ErrNoAnswer = errors.New("the tier does not answer")

// Error is an answer other than a success.
type Error struct {
	Status int
	Detail string // one line

	retryAfter time.Duration // 0 if trying again is pointless
}

func (e *Error) Error() string {
	if e.Status == http.StatusUnauthorized {
		return "the tier requires its --admin-token (IMAGETIER_ADMIN_TOKEN)"
	}
	return fmt.Sprintf("%d: %s", e.Status, e.Detail)
}

// URL returns the URL of a path, as this machine reaches it.
func (c Client) URL(path string) string {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "http://" + c.Listen + path
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port) + path
}

// Get gets a path with its query. It returns an answer of any status without an error.
func (c Client) Get(ctx context.Context, path string) (status int, body []byte, err error) {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = readAll(resp)
	return resp.StatusCode, body, err
}

// call sends in as JSON, unless it is nil, and decodes the answer into out. It also
// returns the answer as it came.
func (c Client) call(ctx context.Context, method, path string, in, out any) (json.RawMessage, error) {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return nil, noAnswer(ctx, err)
	}
	defer resp.Body.Close()
	body, err := readAll(resp)
	switch {
	case err != nil:
		return nil, noAnswer(ctx, err)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted:
		return nil, refusal(resp, body)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", method, path, err)
	}
	return body, nil
}

func (c Client) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout > 0 {
		return context.WithTimeout(ctx, c.Timeout)
	}
	return context.WithCancel(ctx)
}

func (c Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL(path), body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if in != nil && c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	transport := c.transport
	if transport == nil {
		// No proxy: the private listener is near, and its answers are confidential.
		transport = &http.Transport{DisableKeepAlives: true}
	}
	return (&http.Client{Transport: transport}).Do(req)
}

// maxAnswer limits the part of an answer that is read, in bytes.
const maxAnswer = 4 << 20

func readAll(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", resp.Request.URL, err)
	}
	return body, nil
}

// noAnswer wraps the reason why there is no answer in ErrNoAnswer.
func noAnswer(ctx context.Context, err error) error {
	var failed *url.Error
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if errors.As(err, &failed) {
		err = failed.Err
	}
	return fmt.Errorf("%w: %w", ErrNoAnswer, err)
}

// refusal returns what an answer says, which is application/problem+json or text.
func refusal(resp *http.Response, body []byte) *Error {
	e := &Error{Status: resp.StatusCode, Detail: OneLine(body)}
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		e.Detail = OneLine([]byte(problem.Detail))
	}
	if e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable {
		e.retryAfter = retryAfter(resp)
	}
	return e
}

// retryAfter returns when to try again, between a second and a minute.
func retryAfter(resp *http.Response) time.Duration {
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // without one: a second
	return time.Duration(min(max(seconds, 1), 60)) * time.Second
}

// OneLine returns the beginning of an answer as one line for a terminal.
func OneLine(body []byte) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf("%.300s", body))), " ")
}
