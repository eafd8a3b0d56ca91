// Package dirorigin is an origin.Source over a directory: regular files by their paths
// below it. Nothing outside of the directory can be opened, by ".." or by a symbolic link
// (os.Root); links that stay inside are followed.
//
// The entity tag of a file is made of its bytes, so a Ref that pins one pins the bytes:
// the first 32 hex digits of their SHA-256, in quotes. A file is hashed when it is first
// opened; after that the hash is known as long as device, inode, size, mtime and ctime are
// the same. What is read is hashed on its way too, so a body that ends with io.EOF is the
// one that its tag names: a file that is written in place meanwhile fails with
// origin.ErrUnavailable and never yields a mixture. One that is replaced by a rename is
// read to its end as it was.
package dirorigin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/internal/body"
)

// Config says what a Source opens.
type Config struct {
	// Dir is the directory; it must exist. It is opened once: if it is renamed, the
	// Source goes with it, and another put in its place is not seen.
	Dir string
	// MaxBytes is the largest file that is opened; a larger one is ErrTooLarge without
	// being hashed. 0 is no limit.
	MaxBytes int64
	// Hashes is how many entity tags are remembered, at about 150 bytes each.
	// 0 is 65,536.
	Hashes int
}

// Source opens the files of a directory. It is safe for concurrent use.
type Source struct {
	root   *os.Root
	max    int64
	hashes *hashes
	now    func() time.Time
}

// Open opens the directory.
func Open(cfg Config) (*Source, error) {
	if cfg.Dir == "" {
		return nil, errors.New("open directory of originals: none is named")
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open directory of originals: %w", err)
	}
	if cfg.Hashes <= 0 {
		cfg.Hashes = 65536
	}
	return &Source{root: root, max: cfg.MaxBytes, hashes: newHashes(cfg.Hashes), now: time.Now}, nil
}

// Close closes the directory. Objects that are open can be read on.
func (s *Source) Close() error { return s.root.Close() }

// Open implements origin.Source. Of a directory nothing is ever said on freshness. A name
// that is there but is no regular file (a directory, a FIFO, a device) is ErrNotFound, one
// that leaves the directory or may not be read ErrDenied.
func (s *Source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := origin.CheckName(name); err != nil {
		return nil, err
	}
	if cond.VersionID != "" {
		return nil, fmt.Errorf("open %q: %w: a directory has no versions", name, origin.ErrNotFound)
	}
	obj, err := s.open(ctx, name, cond)
	if errors.Is(err, errMoved) { // most of all a file that was just being written
		obj, err = s.open(ctx, name, cond)
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return obj, nil
}

// Head implements origin.Source. A file whose hash is not remembered is read for it.
func (s *Source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	obj, err := s.Open(ctx, name, origin.Cond{})
	if err != nil {
		return origin.Metadata{}, err
	}
	return obj.Metadata, obj.Body.Close()
}

func (s *Source) open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	f, id, err := s.openFile(name)
	if err != nil {
		return nil, err
	}
	obj, err := s.object(ctx, f, id, cond)
	if err != nil {
		f.Close()
		return nil, err
	}
	return obj, nil
}

// openFile opens a regular file and nothing else. A FIFO would block and a device do who
// knows what when it is opened, so the kind is asked first; the name may mean another
// file by the time it is opened, so it is asked of the open file again, which O_NONBLOCK
// keeps from blocking.
func (s *Source) openFile(name string) (*os.File, identity, error) {
	info, err := s.root.Stat(name)
	if err != nil {
		return nil, identity{}, explain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, identity{}, fmt.Errorf("%w: no regular file", origin.ErrNotFound)
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, identity{}, explain(err)
	}
	id, err := identify(f)
	if err == nil && s.max > 0 && id.size > s.max {
		err = fmt.Errorf("%w: %d bytes, %d are allowed", origin.ErrTooLarge, id.size, s.max)
	}
	if err != nil {
		f.Close()
		return nil, identity{}, err
	}
	return f, id, nil
}

// object returns the Object of an open file, or why cond wants none.
func (s *Source) object(ctx context.Context, f *os.File, id identity, cond origin.Cond) (*origin.Object, error) {
	sum, known := s.hashes.get(id)
	if !known {
		var err error
		if sum, err = s.sum(ctx, f, id); err != nil {
			return nil, err
		}
	}
	etag, modified := quote(sum), time.Unix(0, id.mtime).UTC()
	if err := cond.CheckETag(etag); err != nil {
		return nil, err
	}
	if unchanged(cond, etag, modified) {
		return nil, &origin.NotModified{ETag: etag, LastModified: modified, Fresh: origin.Freshness{Silent: true}}
	}
	return &origin.Object{
		Metadata: origin.Metadata{Size: id.size, ETag: etag, LastModified: modified, Fresh: origin.Freshness{Silent: true}},
		Body:     body.New(ctx, &reader{File: f, hash: sha256.New(), sum: sum, hashes: s.hashes, id: id}, id.size),
	}, nil
}

// sum hashes the file and leaves it at its beginning.
func (s *Source) sum(ctx context.Context, f *os.File, id identity) (sum digest, err error) {
	h := sha256.New()
	whole := io.LimitReader(body.New(ctx, f, -1), id.size+1) // and no further, if it is just growing
	if _, err := io.Copy(h, whole); err != nil {
		return digest{}, err
	}
	if now, err := identify(f); err != nil || now != id {
		return digest{}, errors.Join(errMoved, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return digest{}, fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	}
	copy(sum[:], h.Sum(nil))
	if !s.racy(id) {
		s.hashes.put(id, sum)
	}
	return sum, nil
}

// racy reports whether the file could be written again without its times telling: they
// move in steps, of some milliseconds on most file systems and of two seconds on the
// coarsest (FAT). The hash of such a file is not remembered.
func (s *Source) racy(id identity) bool {
	return s.now().UnixNano()-max(id.mtime, id.ctime) < int64(2*time.Second)
}

// unchanged reports whether what the caller has is still it. NoneMatch is over
// ModifiedSince (RFC 9110, 13.2.2), which counts in whole seconds.
func unchanged(cond origin.Cond, etag string, modified time.Time) bool {
	if cond.NoneMatch != "" {
		return origin.SameETag(cond.NoneMatch, etag)
	}
	return !cond.ModifiedSince.IsZero() && !modified.Truncate(time.Second).After(cond.ModifiedSince)
}

func quote(sum digest) string { return `"` + hex.EncodeToString(sum[:]) + `"` }

var errMoved = fmt.Errorf("%w: the file changed while it was read", origin.ErrUnavailable)

// reader is an open file that must turn out to be the one that was hashed.
type reader struct {
	*os.File
	hash   hash.Hash
	sum    digest
	hashes *hashes
	id     identity
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.File.Read(p)
	r.hash.Write(p[:n])
	if err == io.EOF && digest(r.hash.Sum(nil)[:len(digest{})]) != r.sum {
		// If the times did not tell (a write through a memory mapping), the tag would
		// be wrong for ever.
		r.hashes.drop(r.id)
		return n, errMoved
	}
	return n, err
}

// explain gives an error of the file system its sentinel. One that is no errno is
// os.Root's own: the path leaves the directory.
func explain(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrClosed):
		return fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	case !errors.As(err, &errno):
		return fmt.Errorf("%w: %w", origin.ErrDenied, err)
	}
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EISDIR, syscall.EINVAL, syscall.EILSEQ, syscall.ENXIO:
		return fmt.Errorf("%w: %w", origin.ErrNotFound, err)
	case syscall.EACCES, syscall.EPERM:
		return fmt.Errorf("%w: %w", origin.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
}
