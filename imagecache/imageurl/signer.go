package imageurl

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrSignature means that the signature is missing, wrong, or of an unknown key.
	ErrSignature = errors.New("wrong signature")
	// ErrNotImage means that the path is not below Prefix.
	ErrNotImage = errors.New("no such path")
)

// Prefix is the prefix of every signed path.
const Prefix = "/i/"

// A signature is the first macBytes of HMAC-SHA256, or macChars characters of base64url:
// 128 bits, half of the digest, which is the minimum of RFC 2104 (5).
const (
	macBytes = 16
	macChars = 22
)

// maxSigned is an upper bound of the length of a Ref's path in bytes. Longer paths are
// rejected before they are hashed.
const maxSigned = 4096

// Signer writes Refs as signed paths and parses them. It is safe for concurrent use.
type Signer struct {
	keys atomic.Pointer[[]*preparedKey] // the first signs; the slice is never changed
	dev  bool
}

// NewSigner returns a Signer that signs with the first key and accepts the signatures of
// all. It returns an error without keys, for duplicate ids, and if Key.Check fails.
func NewSigner(keys ...Key) (*Signer, error) { return newSigner(false, keys) }

// NewDevSigner returns a Signer for development: it accepts _ instead of a signature beside
// the signatures of keys. Without keys it also writes _.
func NewDevSigner(keys ...Key) (*Signer, error) { return newSigner(true, keys) }

func newSigner(dev bool, keys []Key) (*Signer, error) {
	s := &Signer{dev: dev}
	return s, s.Replace(keys...)
}

// Replace replaces all keys at once. With an error, as of [NewSigner], the old ones stay.
func (s *Signer) Replace(keys ...Key) error {
	errs := checkKeys(keys)
	if len(keys) == 0 && !s.dev {
		errs = append(errs, errors.New("no key to sign image URLs"))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	prepared := make([]*preparedKey, len(keys))
	for i, k := range keys {
		prepared[i] = prepareKey(k)
	}
	s.keys.Store(&prepared)
	return nil
}

// SignOptions changes how a Ref is signed.
type SignOptions struct {
	KeyID   string    // signs with this key; "" is the first one
	Expires time.Time // end of the URL, rounded up to a second; zero is never
}

// Path returns the signed path of ref, from /i/ to its end, with the first key and without expiry.
// It is deterministic.
func (s *Signer) Path(ref Ref) string {
	keys := *s.keys.Load()
	if len(keys) == 0 {
		return Prefix + "_" + ref.path
	}
	return keys[0].path(ref, "")
}

// SignImage returns the signed path of a variant, from /i/ to its end, with the first key and without
// expiry. Its arguments and errors are those of [ParseImage].
func (s *Signer) SignImage(source, name, version, spec string) (string, error) {
	ref, err := ParseImage(source, name, version, spec)
	if err != nil {
		return "", err
	}
	return s.Path(ref), nil
}

// Sign returns the signed path of ref, from /i/ to its end. It returns an error if there is no key of
// that id, or if Expires is before 1970. A development Signer without keys writes _ and no expiry.
func (s *Signer) Sign(ref Ref, o SignOptions) (string, error) {
	expiry := ""
	if !o.Expires.IsZero() {
		expiry = strconv.FormatInt(o.Expires.Add(time.Second-1).Unix(), 10)
		if _, ok := parseExpiry(expiry); !ok {
			return "", fmt.Errorf("sign %s: expiry %v is out of range", ref, o.Expires)
		}
	}
	keys := *s.keys.Load()
	if o.KeyID != "" {
		k := s.key(o.KeyID)
		if k == nil {
			return "", fmt.Errorf("sign %s: no key %s", ref, quote(o.KeyID))
		}
		return k.path(ref, expiry), nil
	}
	if len(keys) == 0 {
		return Prefix + "_" + ref.path, nil
	}
	return keys[0].path(ref, expiry), nil
}

// Parse parses a signed path: the raw path of a request, not decoded and without its query. A
// signature with an expiry time must not have expired.
//
// It checks the signature before it parses the rest. The error wraps ErrNotImage if path
// is not below Prefix, ErrSignature (ErrExpired if that is the only fault), or ErrSyntax if
// the signature is good.
func (s *Signer) Parse(path string) (Ref, error) {
	ref, _, err := s.ParseExpiring(path)
	return ref, err
}

// ParseExpiring is Parse, and returns the time at which the URL expires, zero if never. With
// ErrExpired it also returns the Ref and the time.
func (s *Signer) ParseExpiring(path string) (ref Ref, expires time.Time, err error) {
	signed, expires, err := s.verify(path)
	if err != nil {
		return Ref{}, time.Time{}, err
	}
	ref, err = ParseRef(signed)
	if err == nil && !expires.IsZero() && !time.Now().Before(expires) {
		err = ErrExpired
	}
	return ref, expires, err
}

// verify returns the part of path that is the Ref's, and when the signature expires.
func (s *Signer) verify(path string) (signed string, expires time.Time, err error) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return "", time.Time{}, ErrNotImage
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || len(rest)-slash > maxSigned {
		return "", time.Time{}, ErrSignature
	}
	signature, signed := rest[:slash], rest[slash:]
	if s.dev && signature == "_" {
		return signed, time.Time{}, nil
	}
	id, mac, _ := strings.Cut(signature, ".")
	text := signed
	if mac, digits, ok := strings.Cut(mac, "."); ok {
		if expires, ok = parseExpiry(digits); !ok {
			return "", time.Time{}, ErrSignature
		}
		text = rest[len(id)+1+len(mac)+1:] // the expiry and the path
	}
	mac, _, _ = strings.Cut(mac, ".")
	k := s.key(id) // ids are public: no need for constant time
	if k == nil || len(mac) != macChars {
		return "", time.Time{}, ErrSignature
	}
	var want, got [macChars]byte
	k.mac(&want, text)
	copy(got[:], mac)
	// Compare the characters, not the decoded bytes: base64 has several spellings of one
	// value, and each would be a different URL in every cache on the way.
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return "", time.Time{}, ErrSignature
	}
	return signed, expires, nil
}

func (s *Signer) key(id string) *preparedKey {
	for _, k := range *s.keys.Load() {
		if k.id == id {
			return k
		}
	}
	return nil
}

// preparedKey is a Key with a pool of HMACs. Resetting an HMAC keeps its key schedule, which
// is half of the work of signing something as short as a path.
type preparedKey struct {
	id   string
	idle sync.Pool // of *hasher
}

// hasher has the buffers for one signature, so that signing does not allocate.
type hasher struct {
	hmac hash.Hash
	in   []byte
	sum  [sha256.Size]byte
}

func prepareKey(k Key) *preparedKey {
	secret := append([]byte(nil), k.Secret...)
	prepared := &preparedKey{id: k.ID}
	prepared.idle.New = func() any { return &hasher{hmac: hmac.New(sha256.New, secret)} }
	return prepared
}

// mac writes the signature of the expiry and path in parts, without the key's id, to out.
func (k *preparedKey) mac(out *[macChars]byte, parts ...string) {
	h := k.idle.Get().(*hasher)
	h.in = h.in[:0]
	for _, part := range parts {
		h.in = append(h.in, part...)
	}
	h.hmac.Reset()
	h.hmac.Write(h.in)
	h.hmac.Sum(h.sum[:0])
	base64.RawURLEncoding.Encode(out[:], h.sum[:macBytes])
	k.idle.Put(h)
}

func (k *preparedKey) path(ref Ref, expiry string) string {
	var mac [macChars]byte
	k.mac(&mac, expiry, ref.path)
	var buf [len(Prefix) + 8 + 1 + macChars + 1 + maxExpiryDigits]byte
	b := append(append(buf[:0], Prefix...), k.id...)
	b = append(append(b, '.'), mac[:]...)
	if expiry != "" {
		b = append(append(b, '.'), expiry...)
	}
	return string(b) + ref.path
}
