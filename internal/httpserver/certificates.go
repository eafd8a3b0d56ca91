package httpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certCheckInterval is the minimum time between two checks of the certificate's files. A
// stat takes a few µs, a handshake several hundred.
const certCheckInterval = 5 * time.Second

// certificates is a certificate that follows its files. Handshakes check the files, so nothing runs
// in the background. They are reloaded when the inode, size or modification time of either changes,
// which covers renames, rewrites and the symlink swaps of Kubernetes. Files that cannot be read or
// do not match (a renewal in progress) leave the current certificate in use and are read again at
// the next check.
type certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	interval          time.Duration

	current atomic.Pointer[tls.Certificate]
	nextAt  atomic.Int64 // Unix nanoseconds of the next check

	mu      sync.Mutex
	loaded  [2]os.FileInfo // guarded by mu: the files that were loaded last
	lastErr string         // guarded by mu: the error that was logged last
}

func loadCertificates(certFile, keyFile string, log *slog.Logger) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, log: log, interval: certCheckInterval}
	c.nextAt.Store(time.Now().Add(c.interval).UnixNano())
	return c, c.reload()
}

// config returns the TLS configuration of a listener. Clients without SNI are served too.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.check()
			return c.current.Load(), nil
		},
	}
}

// check reloads changed files if the check interval has passed. One handshake does so; the
// others continue with the current certificate.
func (c *certificates) check() {
	now := time.Now()
	due := c.nextAt.Load()
	if now.UnixNano() < due || !c.nextAt.CompareAndSwap(due, now.Add(c.interval).UnixNano()) {
		return
	}
	if !c.mu.TryLock() {
		return // another handshake is reading them, perhaps from a file system that hangs
	}
	defer c.mu.Unlock()
	if err := c.reloadLocked(); err != nil && err.Error() != c.lastErr {
		c.lastErr = err.Error()
		c.log.Error("certificate reload failed, keeping the old one", "err", err)
	}
}

// ReloadCertificate loads the certificate from its files now, if they have changed, instead of
// with a later handshake. With an error the current one stays in use. Without TLS it does nothing.
func (s *Server) ReloadCertificate() error {
	if s.certs == nil {
		return nil
	}
	return s.certs.reload()
}

// reload loads the certificate from its files if they have changed.
func (c *certificates) reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reloadLocked()
}

func (c *certificates) reloadLocked() error {
	var now [2]os.FileInfo
	same := true
	for i, name := range [2]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		now[i] = info
		was := c.loaded[i]
		same = same && was != nil && os.SameFile(was, info) &&
			was.Size() == info.Size() && was.ModTime().Equal(info.ModTime())
	}
	if same {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if pair.Leaf == nil {
		return errors.New("certificate " + c.certFile + ": no leaf certificate")
	}
	if c.current.Swap(&pair) != nil {
		c.log.Info("certificate reloaded", "file", c.certFile, "not_after", pair.Leaf.NotAfter)
	}
	c.loaded, c.lastErr = now, ""
	return nil
}
