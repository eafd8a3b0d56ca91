package body

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"strings"

	"github.com/novasocial/imagetier/origin"
)

// digest is what an origin states of the bytes of a body.
type digest struct {
	name string
	hash hash.Hash
	want []byte
}

// crc64NVME is the polynomial of CRC-64/NVME, reversed.
var crc64NVME = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// headers are the header fields with one digest each, in base64; the first that is there
// counts. S3 states x-amz-checksum-* (S3 User Guide, "Checking object integrity"); Content-MD5
// is of RFC 1864.
var headers = []struct {
	name string
	hash func() hash.Hash
}{
	{"X-Amz-Checksum-Sha256", sha256.New},
	{"X-Amz-Checksum-Sha1", sha1.New},
	{"X-Amz-Checksum-Crc64nvme", func() hash.Hash { return crc64.New(crc64NVME) }},
	{"X-Amz-Checksum-Crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
	{"X-Amz-Checksum-Crc32", func() hash.Hash { return crc32.NewIEEE() }},
	{"Content-Md5", md5.New},
}

// digestOf returns the digest that h states of the whole body as it is sent, before its
// content coding is decoded, or nil. A malformed one counts as absent, and so do checksums of
// the checksums of parts ("…-3"), which cannot be verified here.
func digestOf(h http.Header) *digest {
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		if d := dictionary(name, strings.Join(h.Values(name), ",")); d != nil {
			return d
		}
	}
	if strings.EqualFold(h.Get("X-Amz-Checksum-Type"), "COMPOSITE") {
		return nil
	}
	for _, known := range headers {
		sum := known.hash()
		want, err := base64.StdEncoding.DecodeString(h.Get(known.name))
		if err == nil && len(want) == sum.Size() {
			return &digest{known.name, sum, want}
		}
	}
	return nil
}

// dictionary returns the digest in the value of a Repr-Digest or Content-Digest (RFC 9530),
// sha-512=:…:, sha-256=:…:, or nil. The other algorithms of the RFC are insecure or unknown.
func dictionary(name, value string) *digest {
	for member := range strings.SplitSeq(value, ",") { // neither base64 nor a key has a comma
		algorithm, text, _ := strings.Cut(strings.Trim(member, " \t"), "=")
		sum := map[string]func() hash.Hash{"sha-512": sha512.New, "sha-256": sha256.New}[algorithm]
		text, _, _ = strings.Cut(text, ";") // parameters
		if sum == nil || len(text) < 2 || text[0] != ':' || text[len(text)-1] != ':' {
			continue
		}
		want, err := base64.StdEncoding.DecodeString(text[1 : len(text)-1])
		if h := sum(); err == nil && len(want) == h.Size() {
			return &digest{name, h, want}
		}
	}
	return nil
}

// md5Digest returns the digest of an MD5 in hex, or nil for any other text.
func md5Digest(text string) *digest {
	want, err := hex.DecodeString(text)
	if err != nil || len(want) != md5.Size {
		return nil
	}
	return &digest{"ETag", md5.New(), want}
}

// verified is a body that fails at its end unless it has the digest.
type verified struct {
	io.ReadCloser
	digest *digest
}

func (v verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.digest.hash.Write(p[:n])
	if err != io.EOF {
		return n, err
	}
	if got := v.digest.hash.Sum(nil); !bytes.Equal(got, v.digest.want) {
		return n, fmt.Errorf("%w: %w of %s: %x, stated %x",
			origin.ErrUnavailable, origin.ErrDigest, v.digest.name, got, v.digest.want)
	}
	return n, err
}
