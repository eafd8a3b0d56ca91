// Package adminclient talks to the private listener of a running program, for the
// commands that ask or change something there.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Client asks one private listener.
type Client struct {
	Listen  string        // address that the program listens on, host:port; the host may be empty
	Token   string        // admin token; "" sends none
	Timeout time.Duration // of a whole exchange; 0 is none
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

// MaxAnswer limits the part of an answer that is read, in bytes.
const MaxAnswer = 4 << 20

// Get gets a path with its query.
func (c Client) Get(ctx context.Context, path string) (status int, body []byte, err error) {
	return c.exchange(ctx, http.MethodGet, path, nil)
}

// Send sends a value as JSON.
func (c Client) Send(ctx context.Context, method, path string, value any) (status int, body []byte, err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return 0, nil, err
	}
	return c.exchange(ctx, method, path, text)
}

// NewRequest returns a request with a body of JSON, or without a body.
func (c Client) NewRequest(ctx context.Context, method, path string, json []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL(path), bytes.NewReader(json))
	if err != nil || json == nil {
		return req, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return req, nil
}

func (c Client) exchange(ctx context.Context, method, path string, text []byte) (int, []byte, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	req, err := c.NewRequest(ctx, method, path, text)
	if err != nil {
		return 0, nil, err
	}
	// No proxy: the private listener is near, and its answers are confidential.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer of %s: %w", req.URL, err)
	}
	return resp.StatusCode, body, nil
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
