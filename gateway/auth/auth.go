// Package auth says who sent a request: by a JWT that a key of a JWKS verifies, or, for
// trying things out, by a token that is configured with its user. Without a token it is
// nobody; a token that is not good is an error and never nobody.
package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

var (
	// ErrToken: the token is not good. Its text may say why, for a log.
	ErrToken = errors.New("the token is not good")
	// ErrKeys: the keys are not there yet, so that nothing can be said of the token.
	ErrKeys = errors.New("the keys that verify tokens are not known")
)

// algorithms are those that are taken: a public key verifies. With a symmetric one whoever
// can read the JWKS could sign.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

const (
	leeway    = 10 * time.Second // between clocks
	maxToken  = 16 << 10         // bytes
	maxUser   = 256              // bytes
	patience  = 2 * time.Second  // how long a request waits for keys that are being fetched
	anonymous = "anonymous"      // what services call nobody: no user may have this name
)

// Config of a Verifier. Without JWKS and Static no token is good.
type Config struct {
	// JWKS is where the keys are. Nil: there are none.
	JWKS *url.URL
	// Issuer and Audience have to be those of a token; "" is not looked at.
	Issuer, Audience string
	// Static are users by token.
	Static map[string]string
	// Refresh is how often keys are fetched; 0 is 10 minutes.
	Refresh time.Duration
	// MinPause is the least time between two fetches, which unknown keys and failures ask
	// for; 0 is 1 s. It doubles with failures, to 30 s.
	MinPause time.Duration
	// Transport is nil for one of its own.
	Transport http.RoundTripper
	// Log gets what went wrong; nil drops it.
	Log *slog.Logger
}

// Verifier says who sent a request. It is safe for concurrent use.
type Verifier struct {
	cfg    Config
	static map[[sha256.Size]byte]string // by hash, so that a lookup's time tells nothing of a token
	parser *jwt.Parser
	keys   *keys // nil: no JWKS
}

// New returns a Verifier, which fetches nothing before Run.
func New(cfg Config) *Verifier {
	cfg.Refresh = cmp.Or(cfg.Refresh, 10*time.Minute)
	cfg.MinPause = cmp.Or(cfg.MinPause, time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	options := []jwt.ParserOption{jwt.WithValidMethods(algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	v := &Verifier{cfg: cfg, static: map[[sha256.Size]byte]string{}, parser: jwt.NewParser(options...)}
	for token, user := range cfg.Static {
		v.static[sha256.Sum256([]byte(token))] = user
	}
	if cfg.JWKS != nil {
		v.keys = newKeys(cfg)
	}
	return v
}

// Run fetches keys until ctx is done. It returns nil.
func (v *Verifier) Run(ctx context.Context) error {
	if v.keys == nil {
		<-ctx.Done()
		return nil
	}
	return v.keys.run(ctx)
}

// User returns who sent a request with these headers; "" without a token. The error wraps
// ErrToken or ErrKeys, or is ctx's.
func (v *Verifier) User(ctx context.Context, h http.Header) (string, error) {
	lines := h.Values("Authorization")
	switch {
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", fmt.Errorf("%w: there are %d headers Authorization", ErrToken, len(lines))
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return "", fmt.Errorf("%w: Authorization is not Bearer and a token", ErrToken)
	}
	if len(v.static) > 0 {
		if user, ok := v.static[sha256.Sum256([]byte(token))]; ok {
			return user, nil
		}
	}
	if v.keys == nil {
		return "", fmt.Errorf("%w: it is none that is configured", ErrToken)
	}
	return v.verify(ctx, token)
}

func (v *Verifier) verify(ctx context.Context, token string) (string, error) {
	set, err := v.keys.get(ctx)
	if err != nil {
		return "", err
	}
	claims, err := v.parse(token, set)
	if errors.Is(err, errUnknownKey) {
		// Signed by a key that is newer than the set, or forged.
		if set, err = v.keys.newer(ctx, set); err != nil {
			return "", err
		}
		claims, err = v.parse(token, set)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	user := claims.Subject
	if user == "" || user == anonymous || len(user) > maxUser || !utf8.ValidString(user) {
		return "", fmt.Errorf("%w: its subject is no user", ErrToken)
	}
	return user, nil
}

func (v *Verifier) parse(token string, set *set) (claims jwt.RegisteredClaims, err error) {
	_, err = v.parser.ParseWithClaims(token, &claims, set.key)
	return claims, err
}
