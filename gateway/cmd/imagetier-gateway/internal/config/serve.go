package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/internal/settings"
)

// Serve is what only the command serve is told.
type Serve struct {
	Feed, Content, User string           // addresses, as gRPC has them
	TLS                 bool             // of the services
	Redis               *pagecache.Redis // nil: none
	Algorithm           string

	JWKS                *url.URL // nil: there are no JWTs
	JWTIssuer           string
	JWTAudience         string
	TestTokens          map[string]string // users by token; only with Dev
	WebhookSecrets      []string          // of the feed service's events; none: no event is taken
	ConnectTimeout      time.Duration     // to a service
	CallTimeout         time.Duration     // of one call
	RequestTimeout      time.Duration     // of a request
	PageTTL             time.Duration
	PostTTL, ProfileTTL time.Duration
	CacheMemory         int64 // bytes

	testTokens []string // TOKEN=USER, as given
	redis      string   // as given
}

// maxTTL is the longest that what can change is kept.
const maxTTL = 5 * time.Minute

var serveNames = []string{
	"feed", "content", "user", "backend-tls", "algorithm",
	"redis", "page-ttl", "post-ttl", "profile-ttl", "cache-memory-size",
	"jwks", "jwt-issuer", "jwt-audience", "test-token",
	"connect-timeout", "call-timeout", "request-timeout", "webhook-secrets",
}

func (s *Serve) settings(add func(settings.Setting)) {
	for _, of := range []struct {
		name string
		p    *string
	}{{"feed", &s.Feed}, {"content", &s.Content}, {"user", &s.User}} {
		add(settings.Setting{Name: of.name, Placeholder: "ADDR", Value: backend(of.p), Required: "required by serve",
			Help: "Where the " + of.name + " service answers gRPC: " + of.name + ":9090, dns:///host:port or unix:PATH. It has to allow pings every 20 s."})
	}
	add(settings.Setting{Name: "backend-tls", Value: settings.Bool(&s.TLS), Help: "Speak TLS with the three services."})
	add(settings.Setting{Name: "algorithm", Placeholder: "NAME", Default: "ch", Value: settings.String(&s.Algorithm), Help: "Which algorithm the feed service is asked for."})
	add(settings.Setting{Name: "redis", Placeholder: "ADDR", Secret: true, Value: redis(&s.redis, &s.Redis),
		DefaultHelp: "none: caches are in the process alone", Help: "The Redis (6 or newer) that gateways share: host:port, several of a cluster with commas, or redis://user:password@host:port/0."})
	add(settings.Setting{Name: "page-ttl", Placeholder: "TIME", Default: "30s", Value: settings.Duration(&s.PageTTL, time.Millisecond, maxTTL), Help: "How long a page of a feed is kept; at most 5m, as the next two: what is kept can change."})
	add(settings.Setting{Name: "post-ttl", Placeholder: "TIME", Default: "2m", Value: settings.Duration(&s.PostTTL, time.Millisecond, maxTTL), Help: "How long a post is kept."})
	add(settings.Setting{Name: "profile-ttl", Placeholder: "TIME", Default: "5m", Value: settings.Duration(&s.ProfileTTL, time.Millisecond, maxTTL), Help: "How long a user's profile is kept."})
	add(settings.Setting{Name: "cache-memory-size", Placeholder: "SIZE", Default: "64MiB", Value: settings.Size(&s.CacheMemory, 1<<20), Help: "How much the cache in the process holds."})
	add(settings.Setting{Name: "jwks", Placeholder: "URL", Value: anyURL(&s.JWKS),
		Help: "The keys (RFC 7517) that verify users' tokens: JWTs signed by RS, PS, ES or EdDSA, with an expiry, whose subject is the user. Without a token users are anonymous."})
	add(settings.Setting{Name: "jwt-issuer", Placeholder: "TEXT", Value: settings.String(&s.JWTIssuer), Help: "The issuer that tokens have to have."})
	add(settings.Setting{Name: "jwt-audience", Placeholder: "TEXT", Value: settings.String(&s.JWTAudience), Help: "The audience that tokens have to have."})
	add(settings.Setting{Name: "test-token", Placeholder: "TOKEN=USER", Secret: true, Value: testTokens(&s.testTokens), Help: "A token that is good as it is, and its user, for trying things out. May be given again. Only with --dev."})
	add(settings.Setting{Name: "connect-timeout", Placeholder: "TIME", Default: "5s", Value: settings.Duration(&s.ConnectTimeout, 10*time.Millisecond, time.Minute), Help: "How long one attempt to connect to a service may take."})
	add(settings.Setting{Name: "call-timeout", Placeholder: "TIME", Default: "5s", Value: settings.Duration(&s.CallTimeout, 10*time.Millisecond, time.Minute), Help: "How long one call of a service may take."})
	add(settings.Setting{Name: "request-timeout", Placeholder: "TIME", Default: "10s", Value: settings.Duration(&s.RequestTimeout, 10*time.Millisecond, time.Minute), Help: "How long a request may take with all its calls."})
	add(settings.Setting{Name: "webhook-secrets", Placeholder: "WHSEC,...", Secret: true, Value: webhookSecrets(&s.WebhookSecrets),
		Help: "The feed service's secrets (whsec_...): its events at POST /v1/events of the private listener drop what they change from the caches. Without them none are taken."})
}

// checkServe looks at what settings mean together for serve.
func (c *Config) checkServe(r *settings.Resolved, needed bool) {
	s := &c.Serve
	for _, of := range []struct{ name, addr string }{{"feed", s.Feed}, {"content", s.Content}, {"user", s.User}} {
		if needed && of.addr == "" && !r.Faulty(of.name) {
			r.FaultOf(of.name, fmt.Errorf("needed: where the %s service is, like %s:9090", of.name, of.name))
		}
	}
	for _, f := range c.Fields {
		if needed && !slices.Contains([]string{"imageUrl", "thumbnailUrl", "avatarUrl"}, f.Name) {
			r.FaultOf("fields", fmt.Errorf("serve has no field %s: it has imageUrl, thumbnailUrl and avatarUrl", f.Name))
		}
	}
	if len(s.testTokens) > 0 && !c.Dev {
		r.FaultOf("test-token", errors.New("a token that everybody can read in a setting is for --dev only"))
	}
	if s.JWKS == nil && (s.JWTIssuer != "" || s.JWTAudience != "") {
		r.FaultOf("jwks", errors.New("needed for --jwt-issuer and --jwt-audience"))
	}
	s.TestTokens = map[string]string{}
	for _, item := range s.testTokens {
		token, user, _ := strings.Cut(item, "=")
		s.TestTokens[token] = user
	}
}

// backend reads where a service is. What gRPC would take for a host's name and never reach is
// refused.
func backend(p *string) settings.Value {
	return settings.Func(func(text string) error {
		if text == "" || strings.Contains(text, "://") && !strings.Contains(text, ":///") || strings.ContainsAny(text, " ,") ||
			!strings.HasPrefix(text, "unix:") && !strings.Contains(text, ":") {
			return fmt.Errorf("%q: want host:port, dns:///host:port or unix:PATH", text)
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// redis reads where Redis is.
func redis(given *string, p **pagecache.Redis) settings.Value {
	return settings.Func(func(text string) (err error) {
		*given = text
		*p, err = pagecache.ParseRedis(text)
		return err
	}, func() string { return *given })
}

// anyURL reads an http or https URL with a path.
func anyURL(p **url.URL) settings.Value {
	return settings.Func(func(text string) error {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
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

func testTokens(p *[]string) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		if _, _, err := pair(item, "test-token=user1"); err != nil {
			return errors.New("want one like test-token=user1")
		}
		*p = append(*p, item)
		return nil
	}, func() []string { return *p })
}
