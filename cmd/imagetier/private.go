package main

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

	"github.com/novasocial/imagetier/internal/config"
)

// privateURL returns the URL of a private listener, as this machine reaches it.
func privateURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port)
}

// maxAnswer is the most that is read of an answer, in bytes.
const maxAnswer = 4 << 20

// ask gets a URL of the private listener.
func ask(ctx context.Context, url string, timeout time.Duration) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	return exchange(req)
}

// order sends what as JSON, with the admin token, to a path of the private listener.
func order(ctx context.Context, cfg config.Config, method, path string, what any, timeout time.Duration) (status int, body []byte, err error) {
	text, err := json.Marshal(what)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, privateURL(cfg.PrivateListen)+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if cfg.AdminToken != "" {
		req.Header.Set("Authorization", "Bearer "+cfg.AdminToken)
	}
	return exchange(req)
}

func exchange(req *http.Request) (status int, body []byte, err error) {
	// No proxy: the private listener is near, and what is asked is nobody's business.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer of %s: %w", req.URL, err)
	}
	return resp.StatusCode, body, nil
}

// oneLine makes an answer fit for one line of a terminal.
func oneLine(body []byte) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf("%.300s", body))), " ")
}
