package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/doctor/finding"
	"github.com/novasocial/imagetier/internal/program"
)

// doctorCmd checks the services that the settings name.
type doctorCmd struct {
	JSON bool `name:"json" help:"Print JSON."`

	commandSettings
}

// Help implements kong.HelpProvider.
func (doctorCmd) Help() string {
	return `Checks what proxy and serve need with the same settings: the settings themselves, the tier (whether it ` +
		`answers, takes the admin token, and has the key that signs), the proxied service, the feed, content and user ` +
		`services, Redis and the JWKS, as far as they are configured, open files and ports. Says how to fix each fault. ` +
		`Changes nothing, and the gateway may be running.

    imagetier-gateway doctor --config gateway.yaml
    imagetier-gateway doctor --json

Exits with 0 if everything is fine, 3 if there are warnings, 1 if there are faults, 2 if the settings cannot be read.`
}

// Run runs every check and prints the findings.
func (c *doctorCmd) Run(ctx context.Context, p *program.Process) error {
	cfg, _, err := config.Load(c.purpose, c.Input(p))
	if err != nil {
		return err
	}
	report := append(diagnose(ctx, cfg), checkPorts(ctx, cfg)...)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := report.Write(p.Stdout, c.JSON); err != nil {
		return err
	}
	switch report.Worst() {
	case finding.Fault:
		return program.Failed
	case finding.Warning:
		return program.Warnings
	}
	return nil
}

// diagnose checks what is configured, also for the process that serves with these settings.
func diagnose(ctx context.Context, cfg config.Config) (report finding.Report) {
	report = append(checkSettings(cfg), finding.OpenFiles())
	if cfg.Tier != nil {
		report = append(report, checkTier(ctx, cfg)...)
	}
	if u := cfg.Proxy.Upstream; u != nil {
		report = append(report, checkDial(ctx, "upstream", "--upstream", hostPort(u)))
	}
	for _, of := range []struct{ name, at string }{
		{"feed", cfg.Serve.Feed}, {"content", cfg.Serve.Content}, {"user", cfg.Serve.User},
	} {
		if of.at != "" {
			report = append(report, checkService(ctx, cfg.Serve, of.name, of.at))
		}
	}
	if cfg.Serve.Redis != nil {
		for _, at := range cfg.Serve.Redis.Addresses {
			report = append(report, checkDial(ctx, "redis "+at, "--redis", at))
		}
	}
	if cfg.Serve.JWKS != nil {
		report = append(report, checkJWKS(ctx, cfg.Serve.JWKS))
	}
	return report
}

func checkSettings(cfg config.Config) (found finding.Report) {
	const name = "settings"
	if f, given := finding.SecretFlags(cfg.SecretFlags); given {
		found = append(found, f)
	}
	if len(cfg.Prefixes) == 0 {
		found = append(found, finding.Warn(name, "give --image-prefix PREFIX=SOURCE",
			"no prefix is configured, so no URL is rewritten"))
	}
	if s := cfg.Serve; s.JWKS != nil && (s.JWTIssuer == "" || s.JWTAudience == "") {
		found = append(found, finding.Warn(name, "set --jwt-issuer and --jwt-audience",
			"tokens for other services are accepted"))
	}
	if len(found) == 0 {
		found = append(found, finding.Good(name, "prefixes: %d, keys: %d", len(cfg.Prefixes), len(cfg.Keys)))
	}
	return found
}

// checkPorts tries to listen on both addresses.
func checkPorts(ctx context.Context, cfg config.Config) finding.Report {
	at := adminclient.Client{Listen: cfg.PrivateListen, Timeout: checkTimeout}
	status, _, _ := at.Get(ctx, "/healthz")
	return finding.Report{
		finding.Port(ctx, "listen", cfg.Listen, status == http.StatusOK),
		finding.Port(ctx, "private-listen", cfg.PrivateListen, status == http.StatusOK),
	}
}

// checkTimeout bounds each request and connection.
const checkTimeout = 5 * time.Second

// checkTier asks whether the tier is ready, takes the admin token, and accepts what the first key signs.
func checkTier(ctx context.Context, cfg config.Config) (found finding.Report) {
	const name = "tier"
	status, _, err := ask(ctx, http.MethodGet, cfg.Tier.JoinPath("/readyz").String(), "", nil)
	switch {
	case err != nil:
		return append(found, finding.Bad(name,
			"start the tier, or check --tier: it is the URL of its private listener", "%v", err))
	case status != http.StatusOK:
		return append(found, finding.Bad(name,
			"run imagetier doctor there, and check --tier", "GET /readyz answers %d", status))
	}
	found = append(found, finding.Good(name, "ready"))
	info := cfg.Tier.JoinPath("/v1/info").String()
	status, _, err = ask(ctx, http.MethodPost, info, cfg.AdminToken, []byte(`{"images":[]}`))
	switch {
	case err != nil:
		found = append(found, finding.Bad("admin token", "check the network to --tier", "%v", err))
	case status == http.StatusOK:
		found = append(found, finding.Good("admin token", "accepted"))
	default:
		found = append(found, finding.Bad("admin token", "set --admin-token to the tier's",
			"POST /v1/info answers %d: there are no placeholders, and no ETags for version=etag", status))
	}
	if len(cfg.Keys) > 0 {
		found = append(found, checkKey(ctx, cfg))
	}
	return found
}

// checkKey has the tier explain a URL that the first key has signed.
func checkKey(ctx context.Context, cfg config.Config) finding.Finding {
	name := "key " + cfg.Keys[0].ID
	const fix = "set --keys to the tier's: the first one has to be there before a gateway signs with it"
	signer, err := imageurl.NewSigner(cfg.Keys[0].Key)
	if err != nil {
		return finding.Bad(name, fix, "%v", err)
	}
	const path = "/16x/live/doctor/doctor.webp"
	ref, err := imageurl.ParseRef(path)
	if err != nil {
		return finding.Bad(name, fix, "%v", err)
	}
	signed, err := signer.Sign(ref, imageurl.SignOptions{})
	if err != nil {
		return finding.Bad(name, fix, "%v", err)
	}
	at := cfg.Tier.JoinPath("/v1/explain")
	at.RawQuery = url.Values{"url": {signed}}.Encode()
	_, body, err := ask(ctx, http.MethodGet, at.String(), cfg.AdminToken, nil)
	var answer struct {
		Signature struct{ Verdict, Detail string }
	}
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	switch {
	case err != nil:
		return finding.Bad(name, "check what answers at --tier", "%v", err)
	case answer.Signature.Verdict != "good":
		return finding.Bad(name, fix, "the tier does not accept what it signs (%s): all image URLs would be 403",
			answer.Signature.Verdict)
	}
	return finding.Good(name, "the tier accepts what it signs")
}

func checkJWKS(ctx context.Context, at *url.URL) finding.Finding {
	const name, fix = "jwks", "check --jwks and the network: until it can be read, requests with a token are refused"
	status, body, err := ask(ctx, http.MethodGet, at.String(), "", nil)
	var set struct{ Keys []json.RawMessage }
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("it answers %d", status)
	}
	if err == nil {
		err = json.Unmarshal(body, &set)
	}
	switch {
	case err != nil:
		return finding.Bad(name, fix, "%v", err)
	case len(set.Keys) == 0:
		return finding.Bad(name, fix, "it has no keys")
	}
	return finding.Good(name, "keys: %d", len(set.Keys))
}

// checkService asks a gRPC service for its health.
func checkService(ctx context.Context, cfg config.Serve, name, at string) finding.Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := upstream.Ping(ctx, at, tlsOf(cfg)); err != nil {
		return unreachable(name, "--"+name, err)
	}
	return finding.Good(name, "it answers")
}

// checkDial connects to an address: host:port or the path of a socket.
func checkDial(ctx context.Context, name, setting, at string) finding.Finding {
	network := "tcp"
	if strings.HasPrefix(at, "/") {
		network = "unix"
	}
	dialer := net.Dialer{Timeout: checkTimeout}
	conn, err := dialer.DialContext(ctx, network, at)
	if err != nil {
		return unreachable(name, setting, err)
	}
	_ = conn.Close()
	return finding.Good(name, "it accepts connections")
}

func unreachable(name, setting string, err error) finding.Finding {
	return finding.Bad(name, "start the service, or check host, port and network of "+setting, "%v", err)
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = u.Scheme // http or https, which are names of ports too
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// ask makes a request, with a bearer token if there is one, and returns the status and up to 1 MiB of the body.
func ask(ctx context.Context, method, at, token string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}
