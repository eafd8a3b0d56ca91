package httpserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

// pair is a certificate for 127.0.0.1, with its key, as PEM.
func pair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: "tier"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	// As renewals do: a new file replaces the old one.
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// logText is a log that can be read while it is written.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// While the files cannot be read, because their file system hangs, handshakes use what was read before.
func TestCertificates_Check_WaitsForNoOtherCheck(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	cert, key := pair(t, 1)
	write(t, certFile, cert)
	write(t, keyFile, key)
	c, err := loadCertificates(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock() // as the check that hangs does
	defer c.mu.Unlock()
	for range 3 {
		c.nextAt.Store(0)
		if got, err := c.config().GetCertificate(nil); got == nil || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}

func TestServer_Run_ReloadsCertificate(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		cert, key := pair(t, 1)
		write(t, certFile, cert)
		write(t, keyFile, key)
		var log logText
		s, err := New(
			on(Config{
				Handler: greets, CertFile: certFile, KeyFile: keyFile, Log: slog.New(slog.NewTextHandler(&log, nil)),
			}),
		)
		if err != nil {
			t.Fatal(err)
		}
		s.certs.interval = 0 // check at each handshake
		s.certs.nextAt.Store(0)
		addr := apitest.Serve(t, s.Run)
		serial := func() int64 {
			t.Helper()
			conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
		}
		if got := serial(); got != 1 {
			t.Fatalf("serial %d", got)
		}
		cert2, key2 := pair(t, 2)
		write(t, certFile, cert2)
		for range 3 { // the new certificate does not fit the old key
			if got := serial(); got != 1 {
				t.Fatalf("in the middle of a renewal: serial %d, want the old one", got)
			}
		}
		if n := strings.Count(log.String(), "reload failed"); n != 1 {
			t.Errorf("that was logged %d times, want once:\n%s", n, &log)
		}
		write(t, keyFile, key2)
		if got := serial(); got != 2 {
			t.Fatalf("after the renewal: serial %d", got)
		}
		if err := os.Remove(certFile); err != nil {
			t.Fatal(err)
		}
		if got := serial(); got != 2 {
			t.Fatalf("without the file: serial %d", got)
		}
		if !strings.Contains(log.String(), "certificate reloaded") {
			t.Errorf("the renewal was not logged:\n%s", &log)
		}
	})
}

func TestServer_Run_TLSVersions(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
		cert, key := pair(t, 1)
		write(t, certFile, cert)
		write(t, keyFile, key)
		addr := serve(
			t,
			on(Config{
				Handler:        greets,
				CertFile:       certFile,
				KeyFile:        keyFile,
				HeaderTimeout:  200 * time.Millisecond,
				MaxConnections: 2,
			}),
		)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(cert)
		client := &http.Client{
			Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}},
			Timeout:   20 * time.Second,
		}
		resp, err := client.Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Errorf("protocol %s, want HTTP/2", resp.Proto)
		}
		old := &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
		if _, err := tls.Dial("tcp", addr, old); err == nil {
			t.Error("the server accepted TLS 1.1")
		}
		// The server does not wait for a client that sends no handshake,
		apitest.HungUp(t, apitest.Dial(t, addr))
		// and replaces idle connections also if they use TLS and HTTP/2.
		for range 4 {
			fresh := &http.Client{
				Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}},
				Timeout:   20 * time.Second,
			}
			resp, err := fresh.Get("https://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			t.Cleanup(fresh.CloseIdleConnections)
		}
	})
}
