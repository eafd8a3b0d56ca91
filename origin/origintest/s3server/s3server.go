// Package s3server runs versitygw, a real S3 server, for tests, with versions, If-Match
// and checksums, on a loopback port and in a temporary directory. Start reading at Start.
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
	Dir                  string // has a directory for each bucket and a file for each object
	process              *process
}

// Start starts a server with additional flags and waits until it answers.
//
// The binary is $IMAGETIER_TOOLS/versitygw, imagetier-tools/versitygw in the user's cache
// directory, or versitygw in PATH, in this order. Without one the test is skipped; with
// CI=true it fails. With -short the test is always skipped.
func Start(t testing.TB, flags ...string) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an S3 server")
	}
	binary, err := find()
	testutil.Require(t, err, "make tools")
	s := &Server{Region: "us-east-1", AccessKey: "imagetier", SecretKey: "imagetier-secret", Dir: t.TempDir()}
	versions := t.TempDir()
	// Another process may take the port between freePort and the start: try again.
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

// Stop kills the server; connections are refused afterwards. It is called at the end of
// the test and may be called earlier.
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
	return "", fmt.Errorf("versitygw not found in %q and PATH: install it with `make tools`", dirs)
}

func (s *Server) start(ctx context.Context, binary, versions string, flags []string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.Endpoint = "http://" + port
	args := []string{"--port", port, "--keep-alive", "--quiet", "--health", "/healthz", "--region", s.Region}
	args = append(args, flags...)
	cmd := exec.Command(binary, append(args, "posix", "--versioning-dir", versions, s.Dir)...)
	cmd.Env = []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey, "HOME=" + versions}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if s.process, err = run(cmd); err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		s.process.kill()
		return fmt.Errorf("%w; output: %s", err, output.Bytes())
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

// ready polls the server until it answers or has exited.
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
			return fmt.Errorf("server exited: %v", s.process.err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// process is a child that is killed when this process ends for any reason. Linux sends
// Pdeathsig when the thread that started the child ends, so a goroutine keeps that thread
// for as long as the child lives.
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
	_ = p.cmd.Process.Kill() // an error means that it has exited
	<-p.ended
}

// Client returns a client of the SDK with all permissions.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	})
}

// Bucket creates a bucket, with or without versions.
func (s *Server) Bucket(t testing.TB, bucket string, versions bool) {
	t.Helper()
	if _, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatalf("create bucket %s: %v", bucket, err)
	}
	if !versions {
		return
	}
	if _, err := s.Client().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket:                  &bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatalf("enable versions in bucket %s: %v", bucket, err)
	}
}

// Stored identifies the result of a Put.
type Stored struct {
	ETag      string // quoted
	VersionID string // "" without versions
}

// Put creates or replaces an object. change may set more fields of the request.
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

// Delete deletes an object. With versions it leaves a delete marker and returns its id.
func (s *Server) Delete(t testing.TB, bucket, key string) (marker string) {
	t.Helper()
	out, err := s.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatalf("delete %s/%s: %v", bucket, key, err)
	}
	return aws.ToString(out.VersionId)
}

// Date sets when an object was last modified. The protocol cannot; it sets the mtime of
// the object's file.
func (s *Server) Date(t testing.TB, bucket, key string, modified time.Time) {
	t.Helper()
	if err := os.Chtimes(filepath.Join(s.Dir, bucket, key), modified, modified); err != nil {
		t.Fatal(err)
	}
}
