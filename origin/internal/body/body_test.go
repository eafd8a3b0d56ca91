package body_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/internal/body"
)

func zip(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func read(t *testing.T, sent []byte, r body.Answer) ([]byte, *origin.Object, error) {
	t.Helper()
	r.Body, r.Size = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
	obj := &origin.Object{}
	err := body.Open(t.Context(), r, obj)
	if err != nil {
		return nil, nil, err
	}
	got, err := io.ReadAll(obj.Body)
	return got, obj, err
}

func TestOpen_Digests(t *testing.T) {
	const text = "hello"
	base := func(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }
	long, short, old := sha512.Sum512([]byte(text)), sha256.Sum256([]byte(text)), md5.Sum([]byte(text))
	wrong := sha256.Sum256([]byte("other"))
	for _, c := range []struct {
		name   string
		header http.Header
		md5    string
		good   bool
	}{
		{"none", nil, "", true},
		{"Repr-Digest", header("Repr-Digest: sha-256=:" + base(short[:]) + ":"), "", true},
		{"Repr-Digest, two", header("Repr-Digest: md5=:AAAA:, sha-512=:" + base(long[:]) + ":"), "", true},
		{"Repr-Digest, wrong", header("Repr-Digest: sha-256=:" + base(wrong[:]) + ":"), "", false},
		{"Repr-Digest, unreadable", header("Repr-Digest: sha-256=" + base(wrong[:])), "", true},
		{"Content-Digest, wrong", header("Content-Digest: sha-256=:" + base(wrong[:]) + ":"), "", false},
		{"Content-MD5", header("Content-MD5: " + base(old[:])), "", true},
		{"Content-MD5, wrong", header("Content-MD5: " + base(wrong[:16])), "", false},
		{"Content-MD5, unreadable", header("Content-MD5: x"), "", true},
		{"CRC32", header("x-amz-checksum-crc32: NhCmhg=="), "", true},
		{"CRC32, wrong", header("x-amz-checksum-crc32: mnG7TA=="), "", false},
		{"CRC32 of parts", header("x-amz-checksum-crc32: mnG7TA==-2"), "", true},
		{"CRC32 of parts, by type",
			header("x-amz-checksum-crc32: mnG7TA==", "x-amz-checksum-type: COMPOSITE"), "", true},
		{"CRC32C", header("x-amz-checksum-crc32c: mnG7TA=="), "", true},
		{"CRC64", header("x-amz-checksum-crc64nvme: M3eFcAZSQlc="), "", true},
		{"CRC64, wrong", header("x-amz-checksum-crc64nvme: AAAAAAAAAAA="), "", false},
		{"MD5 of an ETag", nil, fmt.Sprintf("%x", old), true},
		{"MD5 of an ETag, wrong", nil, fmt.Sprintf("%x", wrong[:16]), false},
		{"ETag that is no MD5", nil, "0123-2", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := read(t, []byte(text), body.Answer{Header: c.header, MD5: c.md5})
			if c.good && (err != nil || string(got) != text) {
				t.Errorf("got %q, %v", got, err)
			}
			if !c.good && (!errors.Is(err, origin.ErrDigest) || !errors.Is(err, origin.ErrUnavailable)) {
				t.Errorf("error %v, want ErrDigest", err)
			}
		})
	}
}

func TestOpen_Codings(t *testing.T) {
	plain := []byte(strings.Repeat("hello ", 10_000))
	coded := zip(plain)
	broken := bytes.Clone(coded)
	broken[len(broken)-5] ^= 1
	sum := md5.Sum(coded)
	for _, c := range []struct {
		name    string
		sent    []byte
		coding  string
		decoded bool
		err     error // nil: plain
	}{
		{"none", plain, "", false, nil},
		{"identity", plain, "identity", false, nil},
		{"not a coding", plain, "utf-8", false, nil},
		{"of an upload", plain, "aws-chunked", false, nil},
		{"gzip", coded, "gzip", true, nil},
		{"gzip in capitals, after an upload", coded, "aws-chunked, GZIP", true, nil},
		{"gzip twice", zip(coded), "gzip, x-gzip", true, nil},
		{"labelled gzip, but plain", plain, "gzip", true, nil},
		{"gzip, cut", coded[:len(coded)-10], "gzip", true, origin.ErrUnavailable},
		{"gzip, broken", broken, "gzip", true, origin.ErrUnavailable},
		{"gzip three times", plain, "gzip, gzip, gzip", false, origin.ErrRejected},
		{"brotli", plain, "br", false, origin.ErrRejected},
		{"zstd", plain, "utf-8, zstd", false, origin.ErrRejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, obj, err := read(t, c.sent, body.Answer{Header: header("Content-Encoding: " + c.coding)})
			if !errors.Is(err, c.err) || c.err == nil && (err != nil || !bytes.Equal(got, plain)) {
				t.Fatalf("%d bytes, error %v, want %v", len(got), err, c.err)
			}
			if c.err == nil && (obj.Decoded != c.decoded || (obj.Size == -1) != c.decoded) {
				t.Errorf("%+v", obj.Metadata)
			}
		})
	}
	// A digest covers the bytes that were sent, before decoding.
	got, _, err := read(t, coded, body.Answer{Header: header("Content-Encoding: gzip"), MD5: fmt.Sprintf("%x", sum)})
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("with its MD5: %d bytes, error %v", len(got), err)
	}
}

// A small answer that decodes to more than the limit is cut off at the limit.
func TestOpen_Bomb(t *testing.T) {
	bomb := zip(make([]byte, 64<<20))
	src := sourceFunc(func(ctx context.Context) (*origin.Object, error) {
		obj := &origin.Object{}
		return obj, body.Open(ctx, body.Answer{
			Body: io.NopCloser(bytes.NewReader(bomb)), Size: int64(len(bomb)), Header: header("Content-Encoding: gzip"),
		}, obj)
	})
	if _, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 1<<20); !errors.Is(err, origin.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

type sourceFunc func(ctx context.Context) (*origin.Object, error)

func (f sourceFunc) Open(ctx context.Context, _ string, _ origin.Cond) (*origin.Object, error) {
	return f(ctx)
}

func (f sourceFunc) Head(context.Context, string) (origin.Metadata, error) { panic("not called") }
