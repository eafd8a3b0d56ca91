package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/internal/settings"
)

// Serve are the settings of the command serve alone.
type Serve struct {
	Feed, Content, User string           // gRPC addresses
	TLS                 bool             // to the services
	Redis               *pagecache.Redis // nil: none
	Algorithm           string

	JWKS                *url.URL // nil: no JWT is accepted
	JWTIssuer           string
	JWTAudience         string
	JWTLeeway           time.Duration
	TestTokens          map[string]string // users by token; only with Dev
	WebhookSecrets      []string          // of the feed service's events; if empty, no event is accepted
	ConnectTimeout      time.Duration     // of one connection attempt to a service
	CallTimeout         time.Duration     // of one call
	RequestTimeout      time.Duration     // of a request
	MaxQueryCost        int               // fields × list sizes
	MaxAnswerBytes      int64             // of one answer
	AnswersMemory       int64             // bytes of all answers that are being written
	PageTTL             time.Duration
	PostTTL, ProfileTTL time.Duration
	CacheMemory         int64 // bytes

	testTokens []string // TOKEN=USER, as given
	redis      string   // as given
}

// maxTTL is the maximum TTL of cached data, all of which can change.
const maxTTL = 5 * time.Minute

var serveNames = []string{
	"feed", "content", "user", "backend-tls", "algorithm",
	"redis", "page-ttl", "post-ttl", "profile-ttl", "cache-memory-size",
	"jwks", "jwt-issuer", "jwt-audience", "jwt-leeway", "test-token",
	"connect-timeout", "call-timeout", "request-timeout", "webhook-secrets",
	"max-query-cost", "max-answer-bytes", "answers-memory-size",
}

func (s *Serve) settings(add func(settings.Setting)) {
	for _, of := range []struct {
		name string
		p    *string
	}{{"feed", &s.Feed}, {"content", &s.Content}, {"user", &s.User}} {
		add(settings.Setting{Name: of.name, Placeholder: "ADDR", Value: backend(of.p), Required: "required by serve",
			Help: "gRPC address of the " + of.name + " service: " + of.name +
				":9090, dns:///host:port or unix:PATH. It must allow gRPC keepalive pings every 20 s."})
	}
	add(settings.Setting{Name: "backend-tls", Value: settings.Bool(&s.TLS), Help: "Use TLS to the three services."})
	add(
		settings.Setting{
			Name:        "algorithm",
			Placeholder: "NAME",
			Default:     "ch",
			Value:       settings.String(&s.Algorithm),
			Help:        "Algorithm to request from the feed service.",
		},
	)
	add(settings.Setting{Name: "redis", Placeholder: "ADDR", Secret: true, Value: redis(&s.redis, &s.Redis),
		DefaultHelp: "none: caches are in process memory only", Help: "Redis (6 or newer) shared by all gateways: host:port, a comma-separated list for a cluster, or redis://user:password@host:port/0."})
	add(
		settings.Setting{
			Name:        "page-ttl",
			Placeholder: "TIME",
			Default:     "30s",
			Value:       settings.Duration(&s.PageTTL, time.Millisecond, maxTTL),
			Help:        "How long a page of a feed is cached, at most 5m.",
		},
	)
	add(
		settings.Setting{
			Name:        "post-ttl",
			Placeholder: "TIME",
			Default:     "2m",
			Value:       settings.Duration(&s.PostTTL, time.Millisecond, maxTTL),
			Help:        "How long a post is cached, at most 5m.",
		},
	)
	add(
		settings.Setting{
			Name:        "profile-ttl",
			Placeholder: "TIME",
			Default:     "5m",
			Value:       settings.Duration(&s.ProfileTTL, time.Millisecond, maxTTL),
			Help:        "How long a user profile is cached, at most 5m.",
		},
	)
	add(
		settings.Setting{
			Name:        "cache-memory-size",
			Placeholder: "SIZE",
			Default:     "64MiB",
			Value:       settings.Size(&s.CacheMemory, 1<<20),
			Help:        "Maximum size of the in-process cache.",
		},
	)
	add(settings.Setting{Name: "jwks", Placeholder: "URL", Value: anyURL(&s.JWKS),
		Help: "URL of the JSON Web Key Set (RFC 7517) that verifies user tokens: JWTs signed with RS, PS, ES or EdDSA, with an expiry, whose subject is the user ID. Requests without a token are anonymous."})
	add(
		settings.Setting{
			Name:        "jwt-issuer",
			Placeholder: "TEXT",
			Value:       settings.String(&s.JWTIssuer),
			Help:        "Required issuer (iss) of tokens.",
		},
	)
	add(
		settings.Setting{
			Name:        "jwt-audience",
			Placeholder: "TEXT",
			Value:       settings.String(&s.JWTAudience),
			Help:        "Required audience (aud) of tokens.",
		},
	)
	add(
		settings.Setting{
			Name:        "jwt-leeway",
			Placeholder: "TIME",
			Default:     "1m",
			Value:       settings.Duration(&s.JWTLeeway, 0, 10*time.Minute),
			Help:        "Accepted clock difference between the issuer and the gateway.",
		},
	)
	add(
		settings.Setting{
			Name:        "test-token",
			Placeholder: "TOKEN=USER",
			Secret:      true,
			Value:       testTokens(&s.testTokens),
			Help:        "A static token and its user, for local testing. Repeatable. Only with --dev.",
		},
	)
	add(
		settings.Setting{
			Name:        "connect-timeout",
			Placeholder: "TIME",
			Default:     "5s",
			Value:       settings.Duration(&s.ConnectTimeout, 10*time.Millisecond, time.Minute),
			Help:        "Timeout of one connection attempt to a service.",
		},
	)
	add(
		settings.Setting{
			Name:        "call-timeout",
			Placeholder: "TIME",
			Default:     "5s",
			Value:       settings.Duration(&s.CallTimeout, 10*time.Millisecond, time.Minute),
			Help:        "Timeout of one call to a service.",
		},
	)
	add(
		settings.Setting{
			Name:        "request-timeout",
			Placeholder: "TIME",
			Default:     "10s",
			Value:       settings.Duration(&s.RequestTimeout, 10*time.Millisecond, time.Minute),
			Help:        "Timeout of a request with all its calls.",
		},
	)
	add(
		settings.Setting{
			Name:        "max-query-cost",
			Placeholder: "N",
			Default:     "10000",
			Value:       settings.Int(&s.MaxQueryCost, 1, 1_000_000_000),
			Help:        "Maximum cost of a query: each field times the maximum lengths of the lists that contain it. All 18 fields of 100 posts with their authors cost about 2000.",
		},
	)
	add(
		settings.Setting{
			Name:        "max-answer-bytes",
			Placeholder: "SIZE",
			Default:     "2MiB",
			Value:       settings.Size(&s.MaxAnswerBytes, 1<<10),
			Help:        "Maximum size of an answer.",
		},
	)
	add(
		settings.Setting{
			Name:        "answers-memory-size",
			Placeholder: "SIZE",
			Default:     "16MiB",
			Value:       settings.Size(&s.AnswersMemory, 1<<20),
			Help:        "Memory for answers that are being written. One answer may take at most a quarter of the free part, so that large answers to slow clients leave room for small ones; above that the gateway answers 503.",
		},
	)
	add(
		settings.Setting{
			Name:        "webhook-secrets",
			Placeholder: "WHSEC,...",
			Secret:      true,
			Value:       webhookSecrets(&s.WebhookSecrets),
			Help:        "The feed service's webhook secrets (whsec_...). Its events at POST /v1/events of the private listener invalidate cached posts and profiles. Without a secret no event is accepted.",
		},
	)
}

// checkServe checks the settings of serve against each other.
func (c *Config) checkServe(r *settings.Resolved, needed bool) {
	s := &c.Serve
	for _, of := range []struct{ name, addr string }{{"feed", s.Feed}, {"content", s.Content}, {"user", s.User}} {
		if needed && of.addr == "" && !r.Faulty(of.name) {
			r.FaultOf(of.name, fmt.Errorf("required: the address of the %s service, like %s:9090", of.name, of.name))
		}
	}
	for _, f := range c.Fields {
		if needed && !slices.Contains([]string{"imageUrl", "thumbnailUrl", "avatarUrl"}, f.Name) {
			r.FaultOf("fields", fmt.Errorf("unknown field %s: serve has imageUrl, thumbnailUrl and avatarUrl", f.Name))
		}
	}
	if len(s.testTokens) > 0 && !c.Dev {
		r.FaultOf("test-token", errors.New("static tokens are only allowed with --dev"))
	}
	if s.JWKS == nil && (s.JWTIssuer != "" || s.JWTAudience != "") {
		r.FaultOf("jwks", errors.New("required by --jwt-issuer and --jwt-audience"))
	}
	s.TestTokens = map[string]string{}
	for _, item := range s.testTokens {
		token, user, _ := strings.Cut(item, "=")
		s.TestTokens[token] = user
	}
}

// backend returns the Value of a gRPC address. It rejects text that gRPC would treat as the name of
// an unknown host.
func backend(p *string) settings.Value {
	return settings.Func(func(text string) error {
		if !reachable(text) {
			return fmt.Errorf("%q: want host:port, dns:///host:port or unix:PATH", text)
		}
		*p = text
		return nil
	}, func() string { return *p })
}

func reachable(text string) bool {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return path != "" && !strings.ContainsAny(path, " ,")
	}
	for _, resolver := range []string{"dns:", "passthrough:"} {
		if rest, ok := strings.CutPrefix(text, resolver); ok {
			text = strings.TrimPrefix(rest, "///")
			break
		}
	}
	host, port, err := net.SplitHostPort(text)
	return err == nil && host != "" && port != "" && !strings.ContainsAny(text, " ,/")
}

// redis returns the Value of a Redis address.
func redis(given *string, p **pagecache.Redis) settings.Value {
	return settings.Func(func(text string) (err error) {
		*given = text
		*p, err = pagecache.ParseRedis(text)
		return err
	}, func() string { return *given })
}

// anyURL returns the Value of an http or https URL with a path.
func anyURL(p **url.URL) settings.Value {
	return settings.Func(func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
			u.Fragment != "" {
			return errors.New("want a URL like https://id.example.com/.well-known/jwks.json")
		}
		*p = u
		return nil
	}, func() string {
		if *p == nil {
			return ""
		}
		return (*p).String()
	})
}

// testTokens returns the Value of a list of TOKEN=USER.
func testTokens(p *[]string) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		if _, _, err := pair(item, "test-token=user1"); err != nil {
			return errors.New("want one like test-token=user1")
		}
		*p = append(*p, item)
		return nil
	}, func() []string { return *p })
}
