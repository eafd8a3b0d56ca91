// Package s3server runs versitygw, a real S3 server, for tests: versions, If-Match,
// checksums and all, on a loopback port and in a directory of the test.
package s3server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/novasocial/imagetier/internal/testutil"
)

// Server is a running server. It ends with its test.
type Server struct {
	Endpoint             string // http://127.0.0.1:PORT, path style
	Region               string
	AccessKey, SecretKey string
	Dir                  string // buckets are directories in it, objects files
	process              *process
}

// Start starts a server, with these flags beside those that it always has, and waits until it
// answers.
//
// The binary is $IMAGETIER_TOOLS/versitygw, else imagetier-tools/versitygw in the user's
// cache directory, else versitygw in PATH. Without one the test is skipped; with CI=true
// it fails.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	binary, err := find()
	testutil.Require(t, err, "make tools")
	s := &Server{Region: "us-east-1", AccessKey: "imagetier", SecretKey: "imagetier-secret", Dir: t.TempDir()}
	versions := t.TempDir()
	// The port is free when it is chosen and may be taken when it is used: once more then.
	for try := 0; ; try++ {
		err := s.start(t.Context(), binary, versions, flags)
		if err == nil {
			break
		}
		if try == 4 {
			t.Fatalf("start versitygw: %v", err)
		}
	}
	t.Cleanup(s.Stop)
	return s
}

// Stop kills the server: from then on connections to it are refused. It is called at the
// end of the test, and may be called before.
func (s *Server) Stop() { s.process.kill() }

func find() (string, error) {
	dirs := []string{os.Getenv("IMAGETIER_TOOLS")}
	if cache, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(cache, "imagetier-tools"))
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, "versitygw")); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath("versitygw"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("this test needs versitygw, a small S3 server; `make tools` gets it (looked in %q and PATH)", dirs)
}

func (s *Server) start(ctx context.Context, binary, versions string, flags []string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Endpoint = "http://" + port
	args := append([]string{"--port", port, "--keep-alive", "--quiet", "--health", "/healthz", "--region", s.Region}, flags...)
	cmd := exec.Command(binary, append(args, "posix", "--versioning-dir", versions, s.Dir)...)
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey, "HOME=" + versions}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if s.process, err = run(cmd); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		s.process.kill()
		return fmt.Errorf("%w; it says: %s", err, output.Bytes())
	}
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// ready asks the server every few milliseconds, until it answers or has ended.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/healthz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK && resp.Header.Get("Server") == "VERSITYGW" {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-s.process.ended:
			return fmt.Errorf("it ended: %v", s.process.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// process is a child that dies with this process, however this one ends. Linux ties that
// (Pdeathsig) to the thread that started the child, so a goroutine keeps its thread for as
// long as the child lives.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // valid when ended is closed
}

func run(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	return p, <-started
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.ended
}

// Client returns a client of the SDK that may do everything.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// Bucket makes a bucket, with or without versions.
func (s *Server) Bucket(t testing.TB, bucket string, versions bool) {
	t.Helper()
	if _, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatalf("make bucket %s: %v", bucket, err)
	}
	if !versions {
		return
	}
	if _, err := s.Client().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket:                  &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatalf("turn versions on in bucket %s: %v", bucket, err)
	}
}

// Stored is what the server made of a Put.
type Stored struct {
	ETag      string // quoted
	VersionID string // "" without versions
}

// Put makes or replaces an object. change may set more of the request.
func (s *Server) Put(t testing.TB, bucket, key string, body []byte, change ...func(*s3.PutObjectInput)) Stored {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}
	for _, f := range change {
		f(in)
	}
	out, err := s.Client().PutObject(t.Context(), in)
	if err != nil {
		t.Fatalf("put %s/%s: %v", bucket, key, err)
	}
	return Stored{ETag: aws.ToString(out.ETag), VersionID: aws.ToString(out.VersionId)}
}

// Delete removes an object; with versions it leaves a delete marker, whose id it returns.
func (s *Server) Delete(t testing.TB, bucket, key string) (marker string) {
	t.Helper()
	out, err := s.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("delete %s/%s: %v", bucket, key, err)
	}
	return aws.ToString(out.VersionId)
}

// Date sets when an object was last modified. The protocol has no word for it: it is the
// time of the file.
func (s *Server) Date(t testing.TB, bucket, key string, modified time.Time) {
	t.Helper()
	if err := os.Chtimes(filepath.Join(s.Dir, bucket, key), modified, modified); err != nil {
		t.Fatal(err)
	}
}
