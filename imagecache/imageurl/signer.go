package imageurl

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"sync/atomic"
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

// Path returns the signed path of ref, from /i/ to its end. It is deterministic.
func (s *Signer) Path(ref Ref) string {
	keys := *s.keys.Load()
	if len(keys) == 0 {
		return Prefix + "_" + ref.path
	}
	return keys[0].path(ref)
}

// PathWith is Path with the key of the given id instead of the first, so that a gateway can
// keep the URLs of old posts. It returns an error if there is no such key.
func (s *Signer) PathWith(keyID string, ref Ref) (string, error) {
	k := s.key(keyID)
	if k == nil {
		return "", fmt.Errorf("sign %s: no key %s", ref, quote(keyID))
	}
	return k.path(ref), nil
}

// Parse parses a signed path: the raw path of a request, not decoded and without its query.
//
// It checks the signature before it parses the rest. The error wraps ErrNotImage if path
// is not below Prefix, ErrSignature, or ErrSyntax if the signature is good.
func (s *Signer) Parse(path string) (Ref, error) {
	signed, err := s.verify(path)
	if err != nil {
		return Ref{}, err
	}
	return ParseRef(signed)
}

// verify returns the part of path that is signed.
func (s *Signer) verify(path string) (signed string, err error) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return "", ErrNotImage
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || len(rest)-slash > maxSigned {
		return "", ErrSignature
	}
	signature, signed := rest[:slash], rest[slash:]
	if s.dev && signature == "_" {
		return signed, nil
	}
	id, mac, _ := strings.Cut(signature, ".")
	k := s.key(id) // ids are public: no need for constant time
	if k == nil || len(mac) != macChars {
		return "", ErrSignature
	}
	var want, got [macChars]byte
	k.mac(&want, signed)
	copy(got[:], mac)
	// Compare the characters, not the decoded bytes: base64 has several spellings of one
	// value, and each would be a different URL in every cache on the way.
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return "", ErrSignature
	}
	return signed, nil
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

// mac writes the signature of signed, without the key's id, to out.
func (k *preparedKey) mac(out *[macChars]byte, signed string) {
	h := k.idle.Get().(*hasher)
	h.in = append(h.in[:0], signed...)
	h.hmac.Reset()
	h.hmac.Write(h.in)
	h.hmac.Sum(h.sum[:0])
	base64.RawURLEncoding.Encode(out[:], h.sum[:macBytes])
	k.idle.Put(h)
}

func (k *preparedKey) path(ref Ref) string {
	var mac [macChars]byte
	k.mac(&mac, ref.path)
	var buf [len(Prefix) + 8 + 1 + macChars]byte
	b := append(append(buf[:0], Prefix...), k.id...)
	b = append(append(b, '.'), mac[:]...)
	return string(b) + ref.path
}
