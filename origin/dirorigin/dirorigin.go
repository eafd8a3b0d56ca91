// Package dirorigin is an origin.Source over a directory. Names are paths of regular
// files below it. Neither ".." nor a symbolic link can leave the directory (os.Root);
// links that stay inside are followed. Start reading at Source.Open.
//
// The entity tag of a file is the first 32 hex digits of the SHA-256 of its bytes, so
// pinning a tag pins the bytes. A file is hashed when it is first opened; the hash is
// cached for as long as device, inode, size, mtime and ctime are the same. The bytes are
// hashed again while they are read, so a body that ends with io.EOF matches its tag: a
// file written in place meanwhile fails with origin.ErrUnavailable and never yields a
// mixture. A file that is replaced by a rename is read to its old end.
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

	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/internal/body"
	"github.com/novasocial/imagetier/origin/objectname"
)

// Config configures a Source.
type Config struct {
	// Dir is the directory; it must exist. It is opened once: if it is renamed, the
	// Source still reads the renamed one.
	Dir string
	// MaxBytes is the size limit of a file; a larger one is ErrTooLarge without
	// being hashed. 0 means no limit.
	MaxBytes int64
	// Hashes is how many entity tags are cached, at about 150 bytes each. 0 means
	// 65,536.
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
		return nil, errors.New("open directory of originals: no path given")
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

// Close closes the directory. Open objects stay readable.
func (s *Source) Close() error { return s.root.Close() }

// Open implements origin.Source. Freshness is always Silent. The name of anything but a
// regular file (a directory, a FIFO, a device) is ErrNotFound; one that leaves the
// directory or may not be read is ErrDenied.
func (s *Source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := objectname.Dir.Check(name); err != nil {
		return nil, err
	}
	if cond.VersionID != "" {
		return nil, fmt.Errorf("open %q: %w: a directory has no versions", name, origin.ErrNotFound)
	}
	return s.open(ctx, name, cond, true)
}

// Head implements origin.Source. A file whose hash is not cached is read to hash it.
func (s *Source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	if err := objectname.Dir.Check(name); err != nil {
		return origin.Metadata{}, err
	}
	obj, err := s.open(ctx, name, origin.Cond{}, false)
	if err != nil {
		return origin.Metadata{}, err
	}
	return obj.Metadata, obj.Body.Close()
}

// open opens a file. With toRead its bytes will be read, otherwise only its metadata.
func (s *Source) open(ctx context.Context, name string, cond origin.Cond, toRead bool) (*origin.Object, error) {
	obj, err := s.openOnce(ctx, name, cond, toRead)
	if errors.Is(err, errFileChanged) { // usually a file that was just being written
		obj, err = s.openOnce(ctx, name, cond, toRead)
	}
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return obj, nil
}

func (s *Source) openOnce(ctx context.Context, name string, cond origin.Cond, toRead bool) (*origin.Object, error) {
	f, id, err := s.openFile(name)
	if err != nil {
		return nil, err
	}
	obj, err := s.object(ctx, f, id, cond, toRead)
	if err != nil {
		f.Close()
		return nil, err
	}
	return obj, nil
}

// CheckName returns an error that wraps origin.ErrName if no file can have that name.
func (*Source) CheckName(name string) error { return objectname.Dir.Check(name) }

// openFile opens a regular file and nothing else. Opening a FIFO would block and opening
// a device may have side effects, so the mode is checked first. The name may refer to
// another file by the time it is opened, so the mode is checked again on the open file;
// O_NONBLOCK keeps that open from blocking.
func (s *Source) openFile(name string) (*os.File, identity, error) {
	info, err := s.root.Stat(name)
	if err != nil {
		return nil, identity{}, explain(err)
	}
	if !info.Mode().IsRegular() {
		return nil, identity{}, fmt.Errorf("%w: not a regular file", origin.ErrNotFound)
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, identity{}, explain(err)
	}
	id, err := identify(f)
	if err == nil && s.max > 0 && id.size > s.max {
		err = &origin.SizeError{Max: s.max}
	}
	if err != nil {
		f.Close()
		return nil, identity{}, err
	}
	return f, id, nil
}

// object returns the Object of an open file, or the error that cond demands. A file whose hash is not
// known is read into memory if it is to be read, so that it is read and hashed once.
func (s *Source) object(
	ctx context.Context, f *os.File, id identity, cond origin.Cond, toRead bool,
) (*origin.Object, error) {
	var whole []byte
	sum, known := s.hashes.get(id)
	if !known {
		var err error
		if sum, whole, err = s.sum(ctx, f, id, toRead); err != nil {
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
	meta := origin.Metadata{
		Size: id.size, ETag: etag, LastModified: modified, Fresh: origin.Freshness{Silent: true},
	}
	obj := &origin.Object{
		Metadata: meta,
		Body:     body.New(ctx, &reader{File: f, hash: sha256.New(), sum: sum, hashes: s.hashes, id: id}, id.size),
	}
	if whole != nil {
		obj.Body = wholeBody{obj.Body, whole}
	}
	return obj, nil
}

// wholeBody is a file that [origin.ReadAll] need not read again.
type wholeBody struct {
	io.ReadCloser
	all []byte
}

// Whole implements what [origin.Object.Whole] looks for.
func (b wholeBody) Whole() []byte { return b.all }

// sum hashes the file and seeks back to its beginning. With keep it also returns its bytes.
func (s *Source) sum(ctx context.Context, f *os.File, id identity, keep bool) (sum digest, whole []byte, err error) {
	h := sha256.New()
	from := io.LimitReader(body.New(ctx, f, -1), id.size+1) // limited, in case the file is growing
	if keep {
		if err := inflight.Grow(ctx, id.size+1); err != nil {
			return digest{}, nil, fmt.Errorf("%w: %w", origin.ErrBusy, err)
		}
		whole = make([]byte, id.size+1)
		n, err := io.ReadFull(from, whole)
		switch {
		case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
			return digest{}, nil, err
		case int64(n) != id.size:
			return digest{}, nil, errFileChanged
		}
		whole = whole[:n:n]
		h.Write(whole)
	} else if _, err := io.Copy(h, from); err != nil {
		return digest{}, nil, err
	}
	if now, err := identify(f); err != nil || now != id {
		return digest{}, nil, errors.Join(errFileChanged, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return digest{}, nil, fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	}
	copy(sum[:], h.Sum(nil))
	if !s.racy(id) {
		s.hashes.put(id, sum)
	}
	return sum, whole, nil
}

// racy reports whether the file could be written again without a change of its times:
// their resolution is some milliseconds on most file systems and two seconds on the
// coarsest (FAT). The hash of such a file is not cached.
func (s *Source) racy(id identity) bool {
	return s.now().UnixNano()-max(id.mtime, id.ctime) < int64(2*time.Second)
}

// unchanged reports whether the caller's copy is still current. NoneMatch takes
// precedence over ModifiedSince (RFC 9110, 13.2.2), which has whole seconds.
func unchanged(cond origin.Cond, etag string, modified time.Time) bool {
	if cond.NoneMatch != "" {
		return origin.SameETag(cond.NoneMatch, etag)
	}
	return !cond.ModifiedSince.IsZero() && !modified.Truncate(time.Second).After(cond.ModifiedSince)
}

func quote(sum digest) string { return `"` + hex.EncodeToString(sum[:]) + `"` }

var errFileChanged = fmt.Errorf("%w: file changed while it was read", origin.ErrUnavailable)

// reader reads an open file and checks at its end that it has the expected hash.
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
		// The times may not have changed (a write through a memory mapping): without
		// the drop the cached tag would stay wrong.
		r.hashes.drop(r.id)
		return n, errFileChanged
	}
	return n, err
}

// explain wraps an error of the file system in its sentinel. An error without an errno
// comes from os.Root itself: the path leaves the directory.
func explain(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, fs.ErrClosed):
		return fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	case !errors.As(err, &errno):
		return fmt.Errorf("%w: %w", origin.ErrDenied, err)
	}
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP,
		syscall.EISDIR, syscall.EINVAL, syscall.EILSEQ, syscall.ENXIO:
		return fmt.Errorf("%w: %w", origin.ErrNotFound, err)
	case syscall.EACCES, syscall.EPERM:
		return fmt.Errorf("%w: %w", origin.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
}
