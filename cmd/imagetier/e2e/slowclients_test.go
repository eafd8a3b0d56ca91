package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"image"
	"image/png"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Clients that announce a body and never send it do not delay the shutdown: one on the public
// listener that was answered, one that is being answered, and one on the private listener.
func TestTier_SIGTERM_UnreadBodies(t *testing.T) {
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--admin-token", token)
	send := func(url, head string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, head+"Host: localhost\r\nContent-Length: 5\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	get := "GET " + sign(t, "phone-srgb.jpg", "v.1", "64x", "jpg") + " HTTP/1.1\r\n"
	answered := send(x.public, get)
	if resp, err := http.ReadResponse(bufio.NewReader(answered), nil); err != nil || resp.StatusCode != 413 {
		t.Errorf("the body of a GET: %+v, %v", resp, err)
	}
	send(x.private, "POST /v1/purge HTTP/1.1\r\nAuthorization: Bearer "+token+"\r\n")
	send(x.public, get)
	begun := time.Now()
	x.stop() // fails the test if a request was cut off
	t.Logf("ended %s after SIGTERM", time.Since(begun))
	if !strings.Contains(x.log.String(), `"msg":"draining"`) {
		t.Error("the log has no line about draining")
	}
}

// With --drain-timeout 0s a running request is cut off at once.
func TestTier_SIGTERM_DrainsNothing(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	origin := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	}))
	defer close(release)
	x := start(t, "--keys", key, "--source", "posts="+origin+"/", "--allow-private-origins", "--cache-dir", t.TempDir(),
		"--drain-timeout", "0s", "--origin-timeout", "60s")
	answered := make(chan error, 1)
	go func() {
		resp, err := http.Get(x.public + sign(t, "phone-srgb.jpg", "v.1", "64x", "jpg"))
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	<-asked
	if err := x.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	x.waitEnded() // the origin has not answered
	if err := <-answered; err == nil || x.err == nil || !strings.Contains(x.log.String(), "after 1ms were cut off") {
		t.Errorf("the client got %v, imagetier ended with %v", err, x.err)
	}
}

// Two thousand clients that request a large original over TLS and read nothing stay within the
// memory that was announced, and a new client is served.
func TestLoad_SlowTLSReaders(t *testing.T) {
	if !loadFull {
		t.Skip("it needs a machine of its own: make bench-load")
	}
	const clients = 2000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < 4*clients {
		t.Skipf("%d open files are allowed, %d are needed", files.Cur, 4*clients)
	}
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-android.jpg")
	cert, pool := certificateFiles(t, dir)
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir+"?originals=yes", "--cache-dir", t.TempDir(),
		"--tls-cert", cert+".crt", "--tls-key", cert+".key")
	config := &tls.Config{RootCAs: pool, ServerName: "example.com"}
	path := signedPath(t, "/orig/v.1/posts/phone-android.jpg")
	before, _ := rssOf(x)

	slow := func() (net.Conn, error) {
		dialer := net.Dialer{Timeout: 20 * time.Second}
		conn, err := tls.DialWithDialer(&dialer, "tcp", strings.TrimPrefix(x.public, "https://"), config)
		if err != nil {
			return nil, err
		}
		_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: example.com\r\n\r\n", path)
		return conn, err
	}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			for range clients / 32 {
				conn, err := slow()
				if err != nil {
					t.Errorf("a client: %v", err)
					return
				}
				t.Cleanup(func() { conn.Close() })
			}
		})
	}
	all.Wait()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	begun := time.Now()
	resp, err := client.Get(x.public + signedPath(t, "/64x/v.1/posts/phone-android.jpg.jpg"))
	if err != nil {
		t.Fatalf("a new client: %v", err)
	}
	resp.Body.Close()
	after, _ := rssOf(x)
	t.Logf("RSS %d MiB, then %d MiB; a new client waited %s", before>>20, after>>20, time.Since(begun))
	if resp.StatusCode != 200 {
		t.Errorf("a new client: %s", resp.Status)
	}
	if limit := int64(64*12/10+250) << 20; after > limit {
		t.Errorf("RSS of %d MiB, announced are %d", after>>20, limit>>20)
	}
}

// A client that requests 128 originals of 12 MB each over one HTTP/2 connection and reads none of them
// stays within the memory that was announced: what does not fit into the budget of originals in flight
// is refused.
func TestTier_H2C_UnreadOriginals(t *testing.T) {
	dir := t.TempDir()
	noise := image.NewNRGBA(image.Rect(0, 0, 2000, 2000))
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise.Pix)
	for i := 3; i < len(noise.Pix); i += 4 {
		noise.Pix[i] = 255
	}
	var encoded bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.NoCompression}
	if err := encoder.Encode(&encoded, noise); err != nil {
		t.Fatal(err)
	}
	const originals = 128
	for i := range originals { // links: to the tier they are different originals
		name := filepath.Join(dir, fmt.Sprintf("%d.png", i))
		var err error
		if i == 0 {
			err = os.WriteFile(name, encoded.Bytes(), 0o600)
		} else {
			err = os.Link(filepath.Join(dir, "0.png"), name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir+"?originals=yes", "--cache-dir", t.TempDir())
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
		Protocols: protocols, MaxConnsPerHost: 1,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10},
	}}
	defer client.CloseIdleConnections()
	var most atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var sampling, asking sync.WaitGroup
	sampling.Go(func() {
		for pause(ctx, 50*time.Millisecond) {
			parent, _ := rssOf(x)
			most.Store(max(most.Load(), parent))
		}
	})
	var statuses [600]atomic.Int64
	for i := range originals {
		asking.Go(func() {
			resp, err := client.Get(x.public + signedPath(t, fmt.Sprintf("/orig/v.1/posts/%d.png", i)))
			if err != nil {
				t.Error(err)
				return
			}
			statuses[resp.StatusCode].Add(1)
			t.Cleanup(func() { resp.Body.Close() })
		})
	}
	asking.Wait()
	stop()
	sampling.Wait()
	t.Logf("%d answered, %d refused, RSS at most %d MiB", statuses[200].Load(), statuses[503].Load(), most.Load()>>20)
	if statuses[200].Load() == 0 || statuses[200].Load()+statuses[503].Load() != originals {
		t.Errorf("%d answered and %d refused of %d", statuses[200].Load(), statuses[503].Load(), originals)
	}
	if limit := int64(64*12/10+250) << 20; most.Load() > limit {
		t.Errorf("RSS of %d MiB, announced are %d", most.Load()>>20, limit>>20)
	}
}

// certificateFiles writes the certificate of httptest for example.com and its key to name.crt and
// name.key.
func certificateFiles(t *testing.T, dir string) (name string, pool *x509.CertPool) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	name = filepath.Join(dir, "server")
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		name + ".key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return name, pool
}
