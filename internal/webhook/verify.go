package webhook

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// ErrUnverified is the error of a webhook whose signature or timestamp is missing or wrong. Its
// text may be shown to the sender: it reveals nothing about a secret.
var ErrUnverified = errors.New("webhook verification failed")

// Tolerance is the maximum difference between a webhook's timestamp and the receiver's clock, in
// both directions.
const Tolerance = 5 * time.Minute

const (
	maxID         = 256 // bytes
	maxSignatures = 16  // of version v1; bounds the work that one request can cause
)

// Verifier checks the signatures of webhooks. It is safe for concurrent use.
type Verifier struct {
	keys atomic.Pointer[keys]
	now  func() time.Time
}

// NewVerifier returns a Verifier that accepts what any of the secrets signed; without secrets it
// accepts nothing. If now is nil, time.Now is used.
func NewVerifier(now func() time.Time, secrets ...string) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{now: now}
	v.keys.Store(new(keys))
	return v, v.Replace(secrets...)
}

// Replace changes the secrets. After an error the old ones hold.
func (v *Verifier) Replace(secrets ...string) error {
	decoded, err := newKeys(secrets)
	if err != nil {
		return err
	}
	v.keys.Store(&decoded)
	return nil
}

// Set reports whether there are secrets.
func (v *Verifier) Set() bool { return len(*v.keys.Load()) > 0 }

// Claim is the content of a webhook's headers, before its body is read.
type Claim struct {
	ID         string // the sender's; the same when it sends a webhook again
	timestamp  string
	signatures []string
}

// Claim reads the headers. The error wraps ErrUnverified: a header is missing, duplicated or
// malformed, or the timestamp is outside Tolerance.
func (v *Verifier) Claim(h http.Header) (Claim, error) {
	var c Claim
	var signatures string
	for _, header := range []struct {
		name string
		into *string
	}{{"webhook-id", &c.ID}, {"webhook-timestamp", &c.timestamp}, {"webhook-signature", &signatures}} {
		lines := h.Values(header.name)
		if len(lines) != 1 || lines[0] == "" {
			return Claim{}, fmt.Errorf("%w: %d %s headers, want one", ErrUnverified, len(lines), header.name)
		}
		*header.into = lines[0]
	}
	if len(c.ID) > maxID {
		return Claim{}, fmt.Errorf("%w: webhook-id is longer than %d bytes", ErrUnverified, maxID)
	}
	seconds, err := strconv.ParseInt(c.timestamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != c.timestamp {
		return Claim{}, fmt.Errorf("%w: webhook-timestamp is not a number of seconds", ErrUnverified)
	}
	// Compared as numbers: a distant time would overflow a Duration.
	switch age := v.now().Unix() - seconds; {
	case age > int64(Tolerance/time.Second):
		return Claim{}, fmt.Errorf("%w: webhook-timestamp is more than %s ago", ErrUnverified, Tolerance)
	case age < -int64(Tolerance/time.Second):
		return Claim{}, fmt.Errorf("%w: webhook-timestamp is more than %s ahead", ErrUnverified, Tolerance)
	}
	for signature := range strings.FieldsSeq(signatures) {
		if mac, ok := strings.CutPrefix(signature, "v1,"); ok {
			c.signatures = append(c.signatures, mac)
		}
	}
	if len(c.signatures) == 0 || len(c.signatures) > maxSignatures {
		return Claim{}, fmt.Errorf("%w: webhook-signature has %d signatures of version v1, want 1-%d",
			ErrUnverified, len(c.signatures), maxSignatures)
	}
	return c, nil
}

// Verify checks that the claim's sender signed body. The error wraps ErrUnverified. Signatures are
// compared as text, in constant time, and never decoded: base64 has several spellings of one value.
func (v *Verifier) Verify(c Claim, body []byte) error {
	good := 0
	for _, want := range v.keys.Load().signatures(c.ID, c.timestamp, body) {
		for _, given := range c.signatures {
			good |= subtle.ConstantTimeCompare([]byte(want), []byte(given))
		}
	}
	if good == 0 {
		return fmt.Errorf("%w: no signature matches", ErrUnverified)
	}
	return nil
}
