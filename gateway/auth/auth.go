// Package auth identifies the user of a request by a bearer token: a JWT verified with a key
// of a JWKS, or a static test token. A request without a token is anonymous; an invalid token
// is an error, never an anonymous user.
//
// Start reading at [Verifier.User]; keys.go keeps the JWKS.
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
	// ErrToken means that the token is invalid. The wrapped text says why, for logs.
	ErrToken = errors.New("invalid token")
	// ErrKeys means that the JWKS has not been fetched yet, so no token can be verified.
	ErrKeys = errors.New("keys to verify tokens are not available")
)

// algorithms are the accepted signature algorithms. All are asymmetric: with a symmetric one,
// anyone who can read the JWKS could sign tokens.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

const (
	maxToken  = 16 << 10        // bytes
	maxUser   = 256             // bytes
	fetchWait = 2 * time.Second // how long a request waits for a fetch of the JWKS

	// anonymous is the user ID that the services get for requests without a token, so no
	// token may have it as its subject.
	anonymous = "anonymous"
)

// Config configures a [Verifier]. Without JWKS and Static every token is invalid.
type Config struct {
	// JWKS is the URL of the keys. If nil, no JWT is accepted.
	JWKS *url.URL
	// Issuer and Audience are the required claims of a token; "" accepts any.
	Issuer, Audience string
	// Leeway is the accepted clock difference when a token's times are checked.
	Leeway time.Duration
	// Static maps test tokens to users.
	Static map[string]string
	// Refresh is the interval between fetches of the JWKS; 0 means 10 minutes.
	Refresh time.Duration
	// MinPause is the minimum time between two fetches when a key is unknown or a fetch
	// failed; 0 means 1 s. Each failure doubles it, up to 30 s.
	MinPause time.Duration
	// Transport fetches the JWKS. If nil, the Verifier uses a transport of its own.
	Transport http.RoundTripper
	// Log receives failed fetches. If nil, nothing is logged.
	Log *slog.Logger
}

// Verifier identifies the users of requests. It is safe for concurrent use.
type Verifier struct {
	static map[[sha256.Size]byte]string // by hash, so that the lookup time reveals nothing about a token
	parser *jwt.Parser
	keys   *keys // nil without a JWKS
}

// New returns a Verifier. It fetches nothing until Run is called.
func New(cfg Config) *Verifier {
	cfg.Refresh = cmp.Or(cfg.Refresh, 10*time.Minute)
	cfg.MinPause = cmp.Or(cfg.MinPause, time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	v := &Verifier{static: map[[sha256.Size]byte]string{}, parser: jwt.NewParser(options...)}
	for token, user := range cfg.Static {
		v.static[sha256.Sum256([]byte(token))] = user
	}
	if cfg.JWKS != nil {
		v.keys = newKeys(cfg)
	}
	return v
}

// Run fetches the JWKS until ctx is done. It returns nil.
func (v *Verifier) Run(ctx context.Context) error {
	if v.keys == nil {
		<-ctx.Done()
		return nil
	}
	return v.keys.run(ctx)
}

// User returns the user of a request with these headers, or "" without a token. The error
// wraps [ErrToken] or [ErrKeys], or is that of ctx.
func (v *Verifier) User(ctx context.Context, h http.Header) (string, error) {
	values := h.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", fmt.Errorf("%w: %d Authorization headers", ErrToken, len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return "", fmt.Errorf("%w: Authorization is not a bearer token of at most %d bytes", ErrToken, maxToken)
	}
	if len(v.static) > 0 {
		if user, ok := v.static[sha256.Sum256([]byte(token))]; ok {
			return user, nil
		}
	}
	if v.keys == nil {
		return "", fmt.Errorf("%w: not a configured test token", ErrToken)
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
		// Either the key is newer than the set, or the token is forged.
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
		return "", fmt.Errorf("%w: the subject is not a valid user ID", ErrToken)
	}
	return user, nil
}

func (v *Verifier) parse(token string, set *keySet) (claims jwt.RegisteredClaims, err error) {
	_, err = v.parser.ParseWithClaims(token, &claims, set.verificationKeys)
	return claims, err
}
