package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/novasocial/imagetier/internal/jsoncheck"
)

const (
	fetchTimeout = 5 * time.Second
	maxPause     = 30 * time.Second
	maxJWKS      = 1 << 20 // bytes
	maxKeys      = 1000    // of a JWKS: a token without kid is checked with each
)

var (
	// errUnknownKey means that the set has no key with the token's kid.
	errUnknownKey = errors.New("unknown key")
	// errCritical means that the token needs an extension: RFC 7515, section 4.1.11, requires to
	// reject unknown ones, and none is known here.
	errCritical = errors.New("unsupported crit header")
)

// keySet is a parsed JWKS. It is immutable.
type keySet struct{ keys []jwkset.JWK }

// verificationKeys returns the keys to try for a token: those with its kid, or all of them if it has
// none. Keys that are meant for another algorithm are left out.
func (s *keySet) verificationKeys(token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, errCritical
	}
	kid, named := token.Header["kid"].(string)
	if _, ok := token.Header["kid"]; ok && !named {
		return nil, errors.New("kid is not a string")
	}
	var keys jwt.VerificationKeySet
	known := false
	for _, key := range s.keys {
		fields := key.Marshal()
		if named && fields.KID != kid {
			continue
		}
		known = true
		if fields.ALG == "" || fields.ALG.String() == token.Method.Alg() {
			keys.Keys = append(keys.Keys, key.Key())
		}
	}
	if !known {
		return nil, errUnknownKey
	}
	return keys, nil
}

// parseKeySet parses a JWKS. It skips the keys that cannot verify a signature here: symmetric
// keys, encryption keys, unknown types and malformed ones.
func parseKeySet(body []byte) (*keySet, error) {
	if err := jsoncheck.Check(body, jsoncheck.Limits{"keys": maxKeys}); err != nil {
		return nil, fmt.Errorf("parse JWKS: %w", err)
	}
	var raw struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, fmt.Errorf("parse JWKS: %w", err)
	}
	s := &keySet{}
	for _, text := range raw.Keys {
		key, err := jwkset.NewJWKFromRawJSON(text, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		if use := key.Marshal().USE; use != "" && use != jwkset.UseSig {
			continue
		}
		switch key.Key().(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
			s.keys = append(s.keys, key)
		}
	}
	if len(s.keys) == 0 {
		return nil, fmt.Errorf("none of the %d keys verifies signatures", len(raw.Keys))
	}
	return s, nil
}

// keys fetches a JWKS periodically. While the server is down, the last good set stays in use.
//
// jwkset's own HTTP client is not used: it drops the old keys when the server answers an empty
// set, rejects a set with one malformed key, reads bodies of any size and does not back off.
type keys struct {
	cfg    Config
	client *http.Client
	wanted chan struct{} // capacity 1: asks run to fetch now

	mu      sync.Mutex    // guards what follows
	current *keySet       // nil before the first successful fetch
	failed  bool          // the last fetch failed
	fetched chan struct{} // closed and replaced after each fetch
	at      time.Time     // of the last fetch
}

func newKeys(cfg Config) *keys {
	if cfg.Transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxResponseHeaderBytes = 64 << 10
		cfg.Transport = own
	}
	return &keys{
		cfg: cfg, wanted: make(chan struct{}, 1), fetched: make(chan struct{}),
		client: &http.Client{Transport: cfg.Transport, Timeout: fetchTimeout},
	}
}

// get returns the current set. It waits only for the first fetch.
func (k *keys) get(ctx context.Context) (*keySet, error) {
	k.mu.Lock()
	current, failed, fetched := k.current, k.failed, k.fetched
	k.mu.Unlock()
	if current == nil && !failed {
		var err error
		if current, err = k.wait(ctx, fetched); err != nil {
			return nil, err
		}
	}
	if current == nil {
		return nil, ErrKeys
	}
	return current, nil
}

// newer returns a set fetched after old, which lacks a key. It returns old if the last fetch
// is younger than MinPause, so that forged tokens cause no traffic. The error is ErrKeys if the server cannot be
// reached: the key may be a new one.
func (k *keys) newer(ctx context.Context, old *keySet) (*keySet, error) {
	k.mu.Lock()
	current, failed, fetched, recent := k.current, k.failed, k.fetched, time.Since(k.at) < k.cfg.MinPause
	k.mu.Unlock()
	switch {
	case current != old:
		return current, nil
	case recent && failed:
		return nil, ErrKeys
	case recent:
		return current, nil
	}
	select {
	case k.wanted <- struct{}{}:
	default:
	}
	newest, err := k.wait(ctx, fetched)
	if err == nil && newest == old { // every successful fetch replaces it
		err = ErrKeys
	}
	return newest, err
}

// wait waits for a fetch, at most fetchWait, and returns the current set, which may be nil.
func (k *keys) wait(ctx context.Context, fetched <-chan struct{}) (*keySet, error) {
	timer := time.NewTimer(fetchWait)
	defer timer.Stop()
	select {
	case <-fetched:
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current, nil
}

// run fetches the set until ctx is done: every Refresh, when newer asks for it, and after a
// failure with exponential backoff. It returns nil.
func (k *keys) run(ctx context.Context) error {
	defer k.client.CloseIdleConnections()
	pause := k.cfg.MinPause
	for {
		set, err := k.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.store(set, err)
		next := k.cfg.Refresh
		if err != nil {
			k.cfg.Log.Warn("jwks fetch failed", "retry_ms", pause.Milliseconds(), "err", err)
			next, pause = pause, min(2*pause, maxPause)
		} else {
			k.cfg.Log.Debug("jwks fetched", "keys", len(set.keys))
			pause = k.cfg.MinPause
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-k.wanted:
			timer.Stop()
		}
	}
}

// store records the result of a fetch and wakes those who wait for it.
func (k *keys) store(set *keySet, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.failed = time.Now(), err != nil
	if err == nil {
		k.current = set
	}
	close(k.fetched)
	k.fetched = make(chan struct{})
}

func (k *keys) fetch(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.cfg.JWKS.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", k.cfg.JWKS, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k.cfg.JWKS, err)
	}
	set, err := parseKeySet(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.cfg.JWKS, err)
	}
	return set, nil
}
