package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// healthCmd asks a running gateway.
type healthCmd struct {
	Ready bool `help:"Ask for readiness instead: it fails while the gateway drains."`

	settingsOf
}

// Help teaches by example.
func (healthCmd) Help() string {
	return `Asks the private listener of the gateway on this machine. Exits with 0 if it is well, 1 if not.

    imagetier-gateway health --ready`
}

// Run asks.
func (c *healthCmd) Run(ctx context.Context, p *program) error {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, localURL(cfg.PrivateListen)+path, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is this machine
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %q", req.URL, resp.Status, body)
	}
	_, err = fmt.Fprintln(p.stdout, "ok")
	return err
}

// localURL returns the URL of a listener, as this machine reaches it.
func localURL(listen string) string {
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
