// Package tier is the gateway's client of the tier: it sends the URLs that pages show (feed.page
// events), and asks for facts about originals (POST /v1/info). A service that signs URLs itself
// with package imagelink can use it, too:
//
//	signer, err := tier.NewSigner("whsec_…")
//	client := tier.New(tier.Config{URL: privateURL, Signer: signer})
//	go client.Run(ctx)
//	linker, err := imagelink.New(imagelink.Config{…, HandedOut: client.HandedOut})
//
// HandedOut and Tag are called while a request is answered and never wait; Facts waits for at most
// 20 ms. Events for a slow tier are dropped and counted, and late facts count as unknown.
package tier

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jsoncheck"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// Limits of the tier.
const (
	maxPaths  = 200     // of one event
	maxImages = 100     // of one request
	maxAnswer = 1 << 20 // bytes of an answer that are read
)

// Config configures a Client.
type Config struct {
	// URL has the scheme and host of the tier's private listener. Required.
	URL *url.URL
	// AdminToken is sent with POST /v1/info. Client.SetAdminToken changes it.
	AdminToken string
	// Signer signs events. If Signer is nil, no events are sent.
	Signer *webhook.Signer
	// If Transport is nil, the Client has its own.
	Transport http.RoundTripper
	// Wrap wraps the Transport, for example with traces. It may be nil.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Fresh is how long a tag is used before it is requested again; 0 means 30 s. An overwritten
	// original is linked under its old tag for that long.
	Fresh time.Duration
	// Observe is called with the outcome for URLs that were handed out. If nil, outcomes are not
	// counted.
	Observe func(outcome Outcome, urls int)
	// Log receives failures. If nil, nothing is logged.
	Log *slog.Logger
}

// Outcome is how the report of handed out URLs ended.
type Outcome string

const (
	Sent    Outcome = "sent"    // the tier accepted the event
	Known   Outcome = "known"   // they were sent to the tier recently
	Dropped Outcome = "dropped" // not sent: the tier is slow, or failed recently
	Refused Outcome = "failed"  // the tier did not accept the event
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{Sent, Known, Dropped, Refused}

// Client is a client of one tier, or of a load balancer in front of several.
type Client struct {
	cfg   Config
	token atomic.Pointer[string] // the admin token
	http  *http.Client
	pages *pages
	tags  *tags
	facts *facts
}

// NewSigner returns a signer of events by the tier's webhook secrets ("whsec_…").
func NewSigner(secrets ...string) (*webhook.Signer, error) { return webhook.NewSigner(secrets...) }

// New returns a Client. It sends nothing before Run.
func New(cfg Config) *Client {
	cfg.Fresh = cmp.Or(cfg.Fresh, 30*time.Second)
	if cfg.Observe == nil {
		cfg.Observe = func(Outcome, int) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.Proxy = nil // the tier is in the same network
		own.MaxIdleConnsPerHost = 8
		own.MaxResponseHeaderBytes = 64 << 10
		cfg.Transport = own
	}
	if cfg.Wrap != nil {
		cfg.Transport = cfg.Wrap(cfg.Transport)
	}
	c := &Client{
		cfg: cfg, pages: newPages(), tags: newTags(cfg.Fresh), facts: newFacts(),
		http: &http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.SetAdminToken(cfg.AdminToken)
	return c
}

// SetAdminToken changes the admin token. Running requests keep the old one.
func (c *Client) SetAdminToken(text string) { c.token.Store(&text) }

// Run sends events and requests until ctx is done.
func (c *Client) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for range pageSenders {
		group.Go(func() error { return c.sendPages(ctx) })
	}
	group.Go(func() error { return c.askTags(ctx) })
	for range factsAskers {
		group.Go(func() error { return c.answerFacts(ctx) })
	}
	err := group.Wait()
	c.http.CloseIdleConnections()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// HandedOut notes that a client was sent a page with URLs of these paths, in that order; it keeps the
// slice. It never waits: the event is sent by another goroutine, at once.
func (c *Client) HandedOut(paths []string) {
	if c.cfg.Signer == nil || len(paths) == 0 {
		return
	}
	select {
	case c.pages.queue <- paths:
	default:
		c.cfg.Observe(Dropped, len(paths))
	}
}

// Tag returns the strong entity tag of a live image's original, without quotes, if it is known. It
// never waits; an unknown tag is requested from the tier in the background.
func (c *Client) Tag(live profile.Image) (tag string, ok bool) {
	return c.tags.get(live, time.Now())
}

// Facts are the tier's facts about an original, from its info endpoint.
type Facts struct {
	Width     int    `json:"width"` // as shown: after orientation
	Height    int    `json:"height"`
	Thumbhash string `json:"thumbhash"` // base64
	Color     string `json:"color"`     // "#rrggbb"
	// Version pins the original that the facts describe, as URLs spell it ("e.9f86"); "" if the
	// origin has no strong entity tag, or if it is unknown.
	Version string `json:"version"`
	// Error is why there are no facts; its Status is 0 if there are.
	Error struct {
		Status int    `json:"status"`
		Title  string `json:"title"`
	} `json:"error"`
}

// Info asks for the facts of at most 100 images and returns them in the same order. The
// tier has to fetch originals that it does not know, so ctx should have a deadline.
func (c *Client) Info(ctx context.Context, images []profile.Image) ([]Facts, error) {
	if len(images) > maxImages {
		return nil, fmt.Errorf("ask the tier about %d images, at most %d", len(images), maxImages)
	}
	asked := struct {
		Images []image `json:"images"`
	}{make([]image, 0, len(images))}
	for _, i := range images {
		asked.Images = append(asked.Images, imageOf(i))
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	req, err := c.request(ctx, "/v1/info", body)
	if err != nil {
		return nil, err
	}
	if token := *c.token.Load(); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the tier: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask the tier: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the tier: %s", resp.Status)
	}
	var answer struct {
		Infos []Facts `json:"infos"`
	}
	err = jsoncheck.Check(text, jsoncheck.Limits{"infos": len(images)})
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the tier: %w", err)
	}
	if len(answer.Infos) != len(images) {
		return nil, fmt.Errorf("ask the tier about %d images: it returned %d results", len(images), len(answer.Infos))
	}
	return answer.Infos, nil
}

func (c *Client) request(ctx context.Context, path string, body []byte) (*http.Request, error) {
	target := c.cfg.URL.JoinPath(path).String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

// image is the JSON of an Image.
type image struct {
	Source  string `json:"source"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

func imageOf(i profile.Image) image { return image{i.Source, i.Name, i.Version.String()} }

// sayable reports whether JSON can represent the image: names may be any bytes.
func sayable(i profile.Image) bool { return utf8.ValidString(i.Name) }

// tagOf returns the tag in a version as URLs spell it.
func tagOf(version string) (string, bool) {
	if !strings.HasPrefix(version, "e.") {
		return "", false
	}
	v, err := imageurl.ParseVersion(version)
	return v.Token(), err == nil
}
