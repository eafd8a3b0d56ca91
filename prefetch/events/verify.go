// Package events reads what others say is coming: events of feed services (Standard Webhooks,
// CloudEvents) and notifications of S3 buckets. It knows who may say it (Verifier) and what it
// means (ParseEvent, ParseNotices), fetches nothing and keeps nothing.
package events

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrForged: an event is not signed by somebody who knows a secret, or not for now. Its text
// says what is missing or wrong and may be shown: it tells nothing of a secret.
var ErrForged = errors.New("the event is not signed as it should be")

// Tolerance is how far an event's timestamp may be from now, before or after (CONTRACT 5).
const Tolerance = 5 * time.Minute

// MinSecret is the least length of a secret, in bytes.
const MinSecret = 24

// Bounds of what headers may hold.
const (
	maxID         = 256 // bytes
	maxSignatures = 16  // in one header: those that rotate, and no more work than that
)

// Verifier checks the signatures of events: Standard Webhooks,
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
type Verifier struct {
	secrets [][]byte
	now     func() time.Time
}

// NewVerifier returns a Verifier of secrets, each whsec_ and base64 of at least MinSecret bytes.
// An event signed by any of them is good. now is the clock; nil is time.Now.
func NewVerifier(now func() time.Time, secrets ...string) (*Verifier, error) {
	if now == nil {
		now = time.Now
	}
	v := &Verifier{now: now}
	for i, text := range secrets {
		encoded, ok := strings.CutPrefix(text, "whsec_")
		secret, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(secret) < MinSecret {
			return nil, fmt.Errorf("webhook secret %d: it is not whsec_ and base64 of at least %d bytes", i+1, MinSecret)
		}
		v.secrets = append(v.secrets, secret)
	}
	return v, nil
}

// Claim is what the headers of an event say, before its body is looked at.
type Claim struct {
	ID         string // the sender's, the same for a repetition
	timestamp  string
	signatures []string
}

// Claim reads the headers. The error wraps ErrForged: one of them is missing, there twice or
// unreadable, or the timestamp is not of now.
func (v *Verifier) Claim(h http.Header) (Claim, error) {
	var c Claim
	var signatures string
	for _, header := range []struct {
		name string
		into *string
	}{{"webhook-id", &c.ID}, {"webhook-timestamp", &c.timestamp}, {"webhook-signature", &signatures}} {
		lines := h.Values(header.name)
		if len(lines) != 1 || lines[0] == "" {
			return Claim{}, fmt.Errorf("%w: it has %d headers %s, not one", ErrForged, len(lines), header.name)
		}
		*header.into = lines[0]
	}
	if len(c.ID) > maxID {
		return Claim{}, fmt.Errorf("%w: webhook-id has more than %d bytes", ErrForged, maxID)
	}
	seconds, err := strconv.ParseInt(c.timestamp, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != c.timestamp {
		return Claim{}, fmt.Errorf("%w: webhook-timestamp is no number of seconds", ErrForged)
	}
	// Compared as numbers: a time far off would overflow a Duration.
	switch off := v.now().Unix() - seconds; {
	case off > int64(Tolerance/time.Second):
		return Claim{}, fmt.Errorf("%w: webhook-timestamp is more than %s ago", ErrForged, Tolerance)
	case off < -int64(Tolerance/time.Second):
		return Claim{}, fmt.Errorf("%w: webhook-timestamp is more than %s ahead", ErrForged, Tolerance)
	}
	for _, signature := range strings.Fields(signatures) {
		if mac, ok := strings.CutPrefix(signature, "v1,"); ok {
			c.signatures = append(c.signatures, mac)
		}
	}
	if len(c.signatures) == 0 || len(c.signatures) > maxSignatures {
		return Claim{}, fmt.Errorf("%w: webhook-signature has %d signatures of version v1, not 1-%d", ErrForged, len(c.signatures), maxSignatures)
	}
	return c, nil
}

// Verify checks that body is what the claim's sender signed. The error wraps ErrForged. A
// signature is compared as characters, in constant time, and never decoded: base64 has several
// spellings of one value.
func (v *Verifier) Verify(c Claim, body []byte) error {
	good := 0
	for _, secret := range v.secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(c.ID))
		mac.Write([]byte("."))
		mac.Write([]byte(c.timestamp))
		mac.Write([]byte("."))
		mac.Write(body)
		want := []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		for _, given := range c.signatures {
			good |= subtle.ConstantTimeCompare(want, []byte(given))
		}
	}
	if good == 0 {
		return fmt.Errorf("%w: no signature fits", ErrForged)
	}
	return nil
}
