package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

const (
	fetchTimeout = 5 * time.Second
	maxPause     = 30 * time.Second
	maxJWKS      = 1 << 20 // bytes
)

// errUnknownKey: a token names a key that is not in the set.
var errUnknownKey = errors.New("its key is not known")

// set is a JWKS. It never changes.
type set struct {
	ids    map[string]bool
	verify jwt.Keyfunc
}

func (s *set) key(token *jwt.Token) (any, error) {
	if id, named := token.Header["kid"].(string); named && !s.ids[id] {
		return nil, errUnknownKey
	}
	return s.verify(token)
}

// parseSet reads a JWKS. Keys that it cannot use, which others may, are left out: symmetric
// ones, those that encrypt, and kinds that are not known here.
func parseSet(body []byte) (*set, error) {
	var said struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, errors.New("it is no JSON of a JWKS")
	}
	type jwks struct {
		Keys []json.RawMessage `json:"keys"`
	}
	var good jwks
	s := &set{ids: map[string]bool{}}
	for _, raw := range said.Keys {
		var key struct{ Kid, Kty, Use string }
		if json.Unmarshal(raw, &key) != nil || key.Kty == "oct" || key.Use != "" && key.Use != "sig" {
			continue
		}
		one, err := json.Marshal(jwks{[]json.RawMessage{raw}})
		if err != nil {
			continue
		}
		if _, err := keyfunc.NewJWKSetJSON(one); err != nil {
			continue
		}
		good.Keys = append(good.Keys, raw)
		s.ids[key.Kid] = true
	}
	if len(good.Keys) == 0 {
		return nil, fmt.Errorf("of its %d keys none verifies signatures", len(said.Keys))
	}
	text, err := json.Marshal(good)
	if err != nil {
		return nil, err
	}
	read, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return nil, err
	}
	s.verify = read.Keyfunc
	return s, nil
}

// keys are the set of a server, fetched again and again. The last one that was good is used
// for as long as the server is down.
type keys struct {
	cfg    Config
	client *http.Client
	wanted chan struct{} // of capacity 1: a newer set

	mu      sync.Mutex
	now     *set          // nil: none was good yet
	failed  bool          // the last fetch
	fetched chan struct{} // closed after each fetch, and replaced
	at      time.Time     // of the last fetch
}

func newKeys(cfg Config) *keys {
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &keys{
		cfg: cfg, wanted: make(chan struct{}, 1), fetched: make(chan struct{}),
		client: &http.Client{Transport: cfg.Transport, Timeout: fetchTimeout},
	}
}

// get returns the set. It waits only for the first fetch.
func (k *keys) get(ctx context.Context) (*set, error) {
	k.mu.Lock()
	now, failed, fetched := k.now, k.failed, k.fetched
	k.mu.Unlock()
	if now != nil {
		return now, nil
	}
	if !failed {
		if err := wait(ctx, fetched); err != nil {
			return nil, err
		}
		k.mu.Lock()
		now = k.now
		k.mu.Unlock()
	}
	if now == nil {
		return nil, ErrKeys
	}
	return now, nil
}

// newer returns what is newer than a set that misses a key, or the same if the server was
// asked a moment ago: forged tokens make no traffic.
func (k *keys) newer(ctx context.Context, than *set) (*set, error) {
	k.mu.Lock()
	now, fetched, recent := k.now, k.fetched, time.Since(k.at) < k.cfg.MinPause
	k.mu.Unlock()
	if now != than || recent {
		return now, nil
	}
	select {
	case k.wanted <- struct{}{}:
	default:
	}
	if err := wait(ctx, fetched); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now, nil
}

// wait waits for a fetch, but not long.
func wait(ctx context.Context, fetched <-chan struct{}) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-fetched:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run fetches.
func (k *keys) run(ctx context.Context) error {
	defer k.client.CloseIdleConnections()
	pause := k.cfg.MinPause
	for {
		got, err := k.fetch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		k.mu.Lock()
		k.at, k.failed = time.Now(), err != nil
		if err == nil {
			k.now = got
		}
		close(k.fetched)
		k.fetched = make(chan struct{})
		have := k.now != nil
		k.mu.Unlock()
		next := k.cfg.Refresh
		if err != nil {
			k.cfg.Log.Warn("the keys that verify tokens could not be fetched", "have", have, "again", pause.String(), "err", err)
			next, pause = pause, min(2*pause, maxPause)
		} else {
			k.cfg.Log.Debug("keys that verify tokens", "keys", len(got.ids))
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

func (k *keys) fetch(ctx context.Context) (*set, error) {
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
		return nil, err
	}
	got, err := parseSet(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.cfg.JWKS, err)
	}
	return got, nil
}
