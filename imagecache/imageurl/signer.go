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
)

var (
	// ErrSignature: the signature is missing, wrong, or of a key that is not live.
	ErrSignature = errors.New("wrong signature")
	// ErrNotImage: the path is not below Prefix, so it is not for this package.
	ErrNotImage = errors.New("no such path")
)

// Prefix is what every signed path begins with.
const Prefix = "/i/"

// macBytes of HMAC-SHA256 are kept, macChars characters of base64url: 128 bits, half of
// the digest, the least that RFC 2104 (5) allows.
const (
	macBytes = 16
	macChars = 22
)

// maxSigned is more than any path of a Ref has bytes; no key ever signed a longer one, so
// nobody can make us hash it.
const maxSigned = 4096

// Signer writes Refs as signed paths and reads them back. It is safe for concurrent use
// and never changes.
type Signer struct {
	keys []*liveKey
	dev  bool
}

// NewSigner returns a Signer that signs with the first key and accepts the signatures of
// all. It errs if there is none, if two have one id, and if Key.Check errs.
func NewSigner(keys ...Key) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("there is no key to sign image URLs with")
	}
	return newSigner(false, keys)
}

// NewDevSigner returns a Signer for development: it accepts _ in the place of a signature,
// from anyone, besides the signatures of keys. Without keys it writes _ too.
func NewDevSigner(keys ...Key) (*Signer, error) { return newSigner(true, keys) }

func newSigner(dev bool, keys []Key) (*Signer, error) {
	if errs := checkKeys(keys); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s := &Signer{dev: dev}
	for _, k := range keys {
		s.keys = append(s.keys, newLiveKey(k))
	}
	return s, nil
}

// Path returns the signed path of ref, from /i/ to its end: the same one each time.
func (s *Signer) Path(ref Ref) string {
	if len(s.keys) == 0 {
		return Prefix + "_" + ref.path
	}
	return s.keys[0].path(ref)
}

// PathWith is Path with the key of that id instead of the first: a gateway keeps the URLs
// of old posts that way. It errs if there is no such key.
func (s *Signer) PathWith(keyID string, ref Ref) (string, error) {
	k := s.key(keyID)
	if k == nil {
		return "", fmt.Errorf("sign %s: there is no key %s", ref, quote(keyID))
	}
	return k.path(ref), nil
}

// Parse reads a signed path: the raw path of a request, as it came over the wire, with
// nothing decoded and without its query.
//
// The signature is checked before anything else is read. The error wraps ErrNotImage if
// path is not below Prefix, ErrSignature, or (with a good signature only) ErrSyntax.
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
	k := s.key(id) // ids are public: this may take its time as it likes
	if k == nil || len(mac) != macChars {
		return "", ErrSignature
	}
	var want, got [macChars]byte
	k.mac(&want, signed)
	copy(got[:], mac)
	// Characters are compared, not what they decode to: base64 has several spellings of
	// one value, and each would be a URL of its own in every cache on the way.
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return "", ErrSignature
	}
	return signed, nil
}

func (s *Signer) key(id string) *liveKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// liveKey is a Key with hashes that have its schedule computed. hmac.Hash.Reset keeps the
// schedule, which is half of the work of signing something as short as a path.
type liveKey struct {
	id   string
	idle sync.Pool // of *hasher
}

// hasher is what one signature at a time needs; it is here so that none allocates.
type hasher struct {
	hmac hash.Hash
	in   []byte
	sum  [sha256.Size]byte
}

func newLiveKey(k Key) *liveKey {
	secret := append([]byte(nil), k.Secret...)
	live := &liveKey{id: k.ID}
	live.idle.New = func() any { return &hasher{hmac: hmac.New(sha256.New, secret)} }
	return live
}

// mac puts the signature of signed, without the key's id, into out.
func (k *liveKey) mac(out *[macChars]byte, signed string) {
	h := k.idle.Get().(*hasher)
	h.in = append(h.in[:0], signed...)
	h.hmac.Reset()
	h.hmac.Write(h.in)
	h.hmac.Sum(h.sum[:0])
	base64.RawURLEncoding.Encode(out[:], h.sum[:macBytes])
	k.idle.Put(h)
}

func (k *liveKey) path(ref Ref) string {
	var mac [macChars]byte
	k.mac(&mac, ref.path)
	var buf [len(Prefix) + 8 + 1 + macChars]byte
	b := append(append(buf[:0], Prefix...), k.id...)
	b = append(append(b, '.'), mac[:]...)
	return string(b) + ref.path
}
