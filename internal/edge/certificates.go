package edge

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

// certCheckInterval is how often the files of a certificate are looked at, at most. A
// stat takes a few µs, a handshake some hundred.
const certCheckInterval = 5 * time.Second

// certificates is a certificate that follows its files. They are looked at by handshakes,
// so nothing runs in the background, and read again when either has another inode, size
// or time: that sees a rename over them, a rewrite, and the swapped symlinks of
// Kubernetes. Files that cannot be read, or do not fit each other (half of a renewal),
// leave the certificate as it was, and are tried again at the next look.
type certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	interval          time.Duration

	current atomic.Pointer[tls.Certificate]
	nextAt  atomic.Int64 // Unix nanoseconds of the next look

	reading   sync.Mutex
	seen      [2]os.FileInfo // guarded by reading: of the files that were read last
	complaint string         // guarded by reading: what was logged last
}

func loadCertificates(certFile, keyFile string, log *slog.Logger) (*certificates, error) {
	c := &certificates{certFile: certFile, keyFile: keyFile, log: log, interval: certCheckInterval}
	c.nextAt.Store(time.Now().Add(c.interval).UnixNano())
	return c, c.read()
}

// config is what a listener needs. Clients without SNI are served as well.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.look()
			return c.current.Load(), nil
		},
	}
}

// look reads the files again if they have changed and their time has come. One handshake
// does it; the others go on with what there is.
func (c *certificates) look() {
	now := time.Now()
	due := c.nextAt.Load()
	if now.UnixNano() < due || !c.nextAt.CompareAndSwap(due, now.Add(c.interval).UnixNano()) {
		return
	}
	if err := c.read(); err != nil {
		c.reading.Lock()
		defer c.reading.Unlock()
		if err.Error() != c.complaint {
			c.complaint = err.Error()
			c.log.Error("certificate cannot be renewed: the old one stays in use", "err", err)
		}
	}
}

// read replaces the certificate by that of the files, if they have changed.
func (c *certificates) read() error {
	c.reading.Lock()
	defer c.reading.Unlock()
	var now [2]os.FileInfo
	same := true
	for i, name := range [2]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		now[i] = info
		was := c.seen[i]
		same = same && was != nil && os.SameFile(was, info) && was.Size() == info.Size() && was.ModTime().Equal(info.ModTime())
	}
	if same {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	if pair.Leaf == nil {
		return errors.New("certificate " + c.certFile + ": it has no leaf")
	}
	if c.current.Swap(&pair) != nil {
		c.log.Info("certificate renewed", "file", c.certFile, "until", pair.Leaf.NotAfter)
	}
	c.seen, c.complaint = now, ""
	return nil
}
