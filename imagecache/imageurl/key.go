package imageurl

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// MinSecret is the minimum size of a Key's Secret in bytes: the size of a digest of
// HMAC-SHA256 (RFC 2104, 3).
const MinSecret = 32

// Key is a signing secret, and the id that precedes its signatures.
type Key struct {
	ID     string // 1-8 of a-z0-9
	Secret []byte // at least MinSecret bytes
}

// String returns the id without the secret.
func (k Key) String() string { return k.ID + "=(secret)" }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// Check returns nil if k can sign. The error does not show the secret.
func (k Key) Check() error {
	ok := len(k.ID) >= 1 && len(k.ID) <= 8
	for i := 0; ok && i < len(k.ID); i++ {
		c := k.ID[i]
		ok = 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
	}
	if !ok {
		return fmt.Errorf("signing key %s: an id is 1-8 of a-z 0-9", quote(k.ID))
	}
	if len(k.Secret) < MinSecret {
		return fmt.Errorf("signing key %q: the secret has %d bytes, want at least %d (%d hex digits)",
			k.ID, len(k.Secret), MinSecret, 2*MinSecret)
	}
	return nil
}

// ParseKeys parses "k2=HEX,k1=HEX": keys in the order of their rank, each ID once, each
// secret at least 64 hex digits of either case. A newline separates keys as a comma does, and
// white space around them is ignored. "" is no keys and no error. All faults are reported at
// once, and none shows a secret.
func ParseKeys(text string) ([]Key, error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", ",")
	if text == "" {
		return nil, nil
	}
	var (
		keys []Key
		errs []error
	)
	for i, part := range strings.Split(text, ",") {
		id, digits, ok := strings.Cut(part, "=")
		if !ok {
			errs = append(errs, fmt.Errorf("signing key %d of the list: want id=HEX", i+1))
			continue
		}
		id = strings.TrimSpace(id)
		secret, err := hex.DecodeString(strings.TrimSpace(digits))
		if err != nil { // its text shows a byte of the secret
			errs = append(errs, fmt.Errorf("signing key %s: the secret is not an even number of hex digits", quote(id)))
			continue
		}
		keys = append(keys, Key{id, secret})
	}
	errs = append(errs, checkKeys(keys)...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return keys, nil
}

// Text returns the key as [ParseKeys] reads it, with its secret.
func (k Key) Text() string { return k.ID + "=" + hex.EncodeToString(k.Secret) }

// checkKeys returns every fault of keys.
func checkKeys(keys []Key) (errs []error) {
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if err := k.Check(); err != nil {
			errs = append(errs, err)
		} else if seen[k.ID] {
			errs = append(errs, fmt.Errorf("signing key %q: duplicate id", k.ID))
		}
		seen[k.ID] = true
	}
	return errs
}
