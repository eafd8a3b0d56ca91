// Package webhook signs and verifies webhooks as [Standard Webhooks] 1.0 specifies. Senders use
// [Signer], receivers [Verifier]; settings check secrets with [ParseSecrets].
//
// The reference library is not used: it knows one secret, accepts an empty one and duplicate
// headers, has no injectable clock and cannot reject a request before its body is read. All it
// would save is the HMAC.
//
// [Standard Webhooks]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// MinSecret is the minimum length of a secret, in bytes.
const MinSecret = 24

// prefix is what the text of a secret starts with; base64 follows.
const prefix = "whsec_"

// ParseSecrets splits a list of secrets at commas and white space and checks each one. Its errors
// name a secret by its position and never contain it.
func ParseSecrets(text string) ([]string, error) {
	secrets := strings.Fields(strings.ReplaceAll(text, ",", " "))
	for i, secret := range secrets {
		if _, err := decodeSecret(secret); err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		if slices.Contains(secrets[:i], secret) {
			return nil, fmt.Errorf("secret %d is a duplicate", i+1)
		}
	}
	return secrets, nil
}

func decodeSecret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return nil, fmt.Errorf("does not begin with %s", prefix)
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("is not base64 after %s", prefix)
	}
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("has %d bytes, needs at least %d: `echo %s$(openssl rand -base64 32)` makes one",
			len(secret), MinSecret, prefix)
	}
	return secret, nil
}

// keys are decoded secrets.
type keys [][]byte

func newKeys(secrets []string) (keys, error) {
	decoded := make(keys, len(secrets))
	for i, text := range secrets {
		secret, err := decodeSecret(text)
		if err != nil {
			return nil, fmt.Errorf("webhook secret %d %w", i+1, err)
		}
		decoded[i] = secret
	}
	return decoded, nil
}

// signatures returns the signature of a message under each key, in base64 and without "v1,".
func (k keys) signatures(id, timestamp string, body []byte) []string {
	signed := make([]string, len(k))
	for i, secret := range k {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.", id, timestamp)
		mac.Write(body)
		signed[i] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return signed
}

// Signer signs webhooks. It is safe for concurrent use.
type Signer struct{ keys atomic.Pointer[keys] }

// NewSigner returns a Signer. Every secret signs, so that a receiver that knows any of them
// accepts the webhook while secrets are rotated. At least one secret is needed.
func NewSigner(secrets ...string) (*Signer, error) {
	s := new(Signer)
	return s, s.Replace(secrets...)
}

// Replace changes the secrets, of which at least one is needed. After an error the old ones hold.
func (s *Signer) Replace(secrets ...string) error {
	if len(secrets) == 0 {
		return errors.New("no webhook secrets")
	}
	decoded, err := newKeys(secrets)
	if err != nil {
		return err
	}
	s.keys.Store(&decoded)
	return nil
}

// Sign sets the headers webhook-id, webhook-timestamp and webhook-signature. A webhook that is
// sent again keeps its id and gets a new timestamp.
func (s *Signer) Sign(h http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	h.Set("webhook-signature", "v1,"+strings.Join(s.keys.Load().signatures(id, timestamp, body), " v1,"))
}
