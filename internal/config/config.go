// Package config has the settings of imagetier: one schema for flags, environment variables (IMAGETIER_…), YAML keys
// and --help (see package settings), and the checks that involve several settings. Only this package reads the
// environment, except AWS_* and OTEL_*, which their libraries read.
//
// Start reading at [Load]; the settings are in schema.go.
package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// Config is the checked settings of imagetier. [Load] makes it; its zero value cannot serve.
type Config struct {
	Listen        string // public address, host:port; the host may be empty (all), the port 0 (any)
	PrivateListen string // private address, host:port
	MaxPerAddress int    // open connections of one address on the public listener; 0: no limit
	TLSCert       string // PEM file of the public listener's certificate chain; "" is plain HTTP
	TLSKey        string // PEM file of its key; set exactly if TLSCert is

	Sources             []Source // in the order they were given, with unique names
	AllowPrivateOrigins bool     // HTTP sources may reach private addresses

	Keys []imageurl.Key // the first signs, all verify; empty only with Dev
	Dev  bool           // "_" is a valid signature, both listeners are on 127.0.0.1 by default

	CacheDir      string // directory of the disk tier and of originals
	MemorySize    int64  // maximum of the memory tier, in bytes
	DiskSize      int64  // maximum of the disk tier, in bytes
	OriginalsSize int64  // maximum of kept originals, in bytes
	Derived       Derived

	Workers       int           // resize processes, at least 1
	ResizeCommand string        // path of imagetier-resize
	ResizeMemory  int64         // bytes of data of one resize process
	InFlightSize  int64         // as configured; see InFlight
	Limits        resize.Limits // of originals; no field is 0
	Mezzanine     int           // long side of mezzanines in pixels; 0: no mezzanines
	Watermarks    []Watermark   // with unique names

	OriginTimeout time.Duration // of one fetch, retries included
	ResizeTimeout time.Duration // of one resize
	NegativeTTL   time.Duration // how long a 404 is kept; 0 does not keep it
	LiveTTL       time.Duration // how long a live original is fresh if its origin does not say; 0: not at all
	HeuristicTTL  time.Duration // maximum of a freshness computed from Last-Modified; 0 computes none
	StaleIfError  time.Duration // how long a live image is served stale while its origin fails
	DrainTimeout  time.Duration // how long requests may take to end after SIGTERM

	NATS           string           // URLs of a NATS cluster, separated by commas; "" embeds the queue
	StreamReplicas int              // how many servers of the cluster hold each stream
	S3EventsToken  string           // of S3 notifications; "" rejects them unless Dev
	SNSTopic       string           // ARN whose subscription is confirmed; "" confirms no subscription
	WebhookSecrets []string         // whsec_…, valid; of the services that send events; empty rejects events
	Profiles       *profile.Set     // named lists of Specs
	ProfilesFile   string           // file of Profiles; "" is the built-in ones
	Prefixes       []profile.Prefix // as they were given, with HTTP set from the sources
	Links          *profile.Links   // made from Prefixes
	Warm           string           // "adaptive", "all" or "none"
	WastedAfter    time.Duration    // how long a variant that was made early is watched
	Balancer       string           // base URL for warming, without a / at its end; "" is this node itself

	CDNTags      string   // "none", "surrogate-key" or "cache-tag"; see TagHeader
	PurgeHook    string   // URL of the purge webhook; "" if not used
	PurgeSecrets []string // whsec_…, valid; each signs; set exactly if PurgeHook is

	AdminToken string // for POST, DELETE and GET /v1/originals on the private listener; "" rejects them unless Dev
	LogLevel   slog.Level
	LogFormat  string // "json" or "text"
	AccessLog  AccessLog

	// Secrets are all secrets as they were written, to keep them out of the log.
	Secrets []string
}

// AccessLog says which requests of the public listener are logged. Its zero value is "off".
type AccessLog struct {
	Errors bool // those that failed here or at the origin, or whose original cannot be used
	Every  int  // one in this many other requests is logged; 0 logs none of them
}

// String returns the setting's text.
func (a AccessLog) String() string {
	switch {
	case a.Every == 1:
		return "all"
	case a.Every > 1:
		return "1/" + strconv.Itoa(a.Every)
	case a.Errors:
		return "errors"
	}
	return "off"
}

// Source is a configured origin.
type Source struct {
	Name string // [a-z][a-z0-9-]{0,31}
	URL  sourceurl.Source
	Text string // the URL as it was given; contains no secret
}

// String returns NAME=URL.
func (s Source) String() string { return s.Name + "=" + s.Text }

// Derived is where the nodes of a fleet share variants; the zero value is nowhere.
type Derived struct {
	URL  sourceurl.Source // of kind S3
	Text string           // the URL as it was given; contains no secret
}

// Set reports whether there is such a store.
func (d Derived) Set() bool { return d.Text != "" }

// Watermark is a configured watermark, called wm.NAME in Specs.
type Watermark struct {
	Name   string // [a-z0-9]{1,16}
	File   string
	Bytes  []byte // of the file when it was read
	Digest string // first 16 hex digits of the SHA-256 of Bytes; part of the cache key
}

// String returns NAME=FILE.
func (w Watermark) String() string { return w.Name + "=" + w.File }

// read sets Bytes and Digest from File.
func (w *Watermark) read(limits resize.Limits) error {
	info, err := os.Stat(w.File)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", w.File)
	}
	if w.Bytes, err = os.ReadFile(w.File); err != nil {
		return err
	}
	header, err := resize.ReadHeader(w.Bytes)
	if err == nil {
		err = errors.Join(limits.Check(header, len(w.Bytes)), resize.CheckComplete(w.Bytes, header))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.File, err)
	}
	sum := sha256.Sum256(w.Bytes)
	w.Digest = hex.EncodeToString(sum[:8])
	return nil
}

var errNoKeys = errors.New("no keys: set --keys k1=HEX (or IMAGETIER_KEYS, or --keys-file) with at least 64 hex " +
	"digits, as `openssl rand -hex 32` prints them; or --dev to try things out without keys")

// Signer returns the signer of the configured keys; with Dev one that accepts "_" too. It fails if there are no keys.
func (c Config) Signer() (*imageurl.Signer, error) {
	switch {
	case c.Dev:
		return imageurl.NewDevSigner(c.Keys...)
	case len(c.Keys) == 0:
		return nil, errNoKeys
	}
	return imageurl.NewSigner(c.Keys...)
}

// TagHeader returns the name of the header that has the tag of an original for a CDN; "" if no
// such header is sent.
func (c Config) TagHeader() string {
	switch c.CDNTags {
	case "surrogate-key":
		return "Surrogate-Key"
	case "cache-tag":
		return "Cache-Tag"
	}
	return ""
}
