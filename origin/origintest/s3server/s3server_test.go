package s3server_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

func TestStart_ServerEndsWithProcess(t *testing.T) {
	if os.Getenv("S3SERVER_TEST_CHILD") != "" {
		s := s3server.Start(t)
		fmt.Println("endpoint", s.Endpoint)
		select {} // until it is killed
	}
	s3server.Start(t) // skips, or fails, without the binary
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "S3SERVER_TEST_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines, address := bufio.NewScanner(out), ""
	for address == "" && lines.Scan() {
		address, _ = strings.CutPrefix(lines.Text(), "endpoint http://")
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	defer conn.Close()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	// The connection is closed when the server ends.
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); os.IsTimeout(err) {
		t.Fatal("the server is still running")
	}
}

func TestServer_PutDeleteStop(t *testing.T) {
	s := s3server.Start(t)
	s.Bucket(t, "posts", true)
	first, second := s.Put(t, "posts", "a", []byte("1")), s.Put(t, "posts", "a", []byte("2"))
	if first.ETag == "" || first.ETag == second.ETag || first.VersionID == "" || first.VersionID == second.VersionID {
		t.Errorf("%+v and %+v", first, second)
	}
	if marker := s.Delete(t, "posts", "a"); marker == "" {
		t.Error("no delete marker")
	}
	s.Stop()
	if conn, err := net.Dial("tcp", strings.TrimPrefix(s.Endpoint, "http://")); err == nil {
		conn.Close()
		t.Error("a stopped server answers")
	}
}
