package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// unwell is an origin that answers with photo or, for names like FAULT-name, with that fault until
// it is healed.
type unwell struct {
	photo  []byte
	healed atomic.Bool
	calls  atomic.Int64
	ended  chan struct{} // closed to release hanging requests
}

func (o *unwell) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := o.calls.Add(1)
	fault, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "-")
	if o.healed.Load() {
		fault = ""
	}
	raw := func(text string, body []byte) net.Conn {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		buffered.WriteString(text)
		buffered.Write(body)
		buffered.Flush()
		return conn
	}
	head := func(length int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", length)
	}
	half := o.photo[:len(o.photo)/2]
	switch fault {
	case "cut":
		raw(head(len(o.photo)), half).Close()
	case "lied": // the stated length is too small
		raw(head(len(half)), o.photo).Close()
	case "kind":
		w.Header().Set("Content-Type", "image/jpeg")
		io.WriteString(w, "<!doctype html><title>Sign in</title>"+strings.Repeat(" ", 2000))
	case "corrupt":
		w.Header().Set("Content-Type", "image/jpeg")
		noise := bytes.Repeat([]byte("noise, and no image"), len(o.photo)/19)
		w.Write(append(append([]byte(nil), o.photo[:700]...), noise...))
	case "flipping":
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, n))
		w.Write(o.photo)
	case "busy":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "broken":
		w.WriteHeader(http.StatusInternalServerError)
	case "reset":
		conn := raw(head(len(o.photo)), half)
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	case "hang":
		<-o.ended
	case "stall": // in the middle of the body
		conn := raw(head(len(o.photo)), half)
		<-o.ended
		conn.Close()
	case "endless":
		w.Header().Set("Content-Type", "image/jpeg")
		w.Write(o.photo)
		for zeros := make([]byte, 64<<10); ; {
			if _, err := w.Write(zeros); err != nil {
				return
			}
		}
	default:
		w.Header().Set("Content-Type", "image/jpeg")
		w.Header().Set("ETag", `"whole"`)
		w.Write(o.photo)
	}
}

// For every fault of an origin: no answer is a wrong or truncated image, none of these is stored,
// hanging requests are answered within the deadline, and hits are served meanwhile.
func TestTier_OriginFaults_ServeStale(t *testing.T) {
	photo, err := os.ReadFile(filepath.Join(photos(t), "phone-srgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	o := &unwell{photo: photo, ended: make(chan struct{})}
	origin := listen(t, o)
	t.Cleanup(func() { close(o.ended) })
	x := start(t, "--keys", key, "--source", "posts="+origin+"/", "--allow-private-origins", "--cache-dir", t.TempDir(),
		"--origin-timeout", "1s", "--negative-ttl", "0s", "--max-original-bytes", "16MiB")
	well := sign(t, "well.jpg", "v.1", "200x", "jpg")
	x.get(well).want(t, 200, "origin")
	want := x.get(well)
	want.want(t, 200, "memory")

	faults := map[string][]int{
		"cut": {502}, "lied": {422}, "kind": {415}, "corrupt": {415, 422}, "flipping": {404},
		"busy": {502, 503}, "broken": {502}, "reset": {502}, "hang": {504}, "stall": {502, 504}, "endless": {413},
	}
	paths := make(map[string]string)
	for fault := range faults {
		version := "v.1"
		if fault == "flipping" {
			version = "e.whole" // an image that must be the one with this ETag
		}
		paths[fault] = sign(t, fault+"-a.jpg", version, "200x", "jpg")
	}
	var stop atomic.Bool
	var hits atomic.Int64
	var hitters sync.WaitGroup
	for range 2 {
		hitters.Go(func() {
			for !stop.Load() {
				if got := x.get(well); got.StatusCode != 200 || !bytes.Equal(got.body, want.body) ||
					!strings.Contains(got.Header.Get("Cache-Status"), "; hit;") {
					t.Errorf("a hit during the faults: %s %s", got.Status, got.Header.Get("Cache-Status"))
					return
				}
				hits.Add(1)
			}
		})
	}
	// All faults in turn, twice: an answer must not depend on earlier ones. The breaker opens when
	// half of the requests fail, so good answers come in between.
	for fault, statuses := range faults {
		for round := range 2 {
			before := hits.Load()
			began := time.Now()
			got := x.get(paths[fault])
			took := time.Since(began)
			allowed := false
			for _, status := range statuses {
				allowed = allowed || got.StatusCode == status
			}
			if !allowed || strings.HasPrefix(got.Header.Get("Content-Type"), "image/") {
				t.Errorf("%s, round %d: %s %s, want one of %v",
					fault, round, got.Status, got.Header.Get("Content-Type"), statuses)
			}
			if !strings.HasPrefix(got.Header.Get("Content-Type"), "application/problem+json") {
				t.Errorf("%s: the answer is %s", fault, got.Header.Get("Content-Type"))
			}
			if took > 10*time.Second { // the deadline is 1 s and one more try
				t.Errorf("%s took %v", fault, took)
			}
			if fault == "hang" && hits.Load() == before {
				t.Error("no request was answered while an origin hung")
			}
			for i := range 3 {
				x.get(signedPath(t, fmt.Sprintf("/60x/v.1/posts/well-%s-%d-%d.jpg.jpg", fault, round, i))).
					want(t, 200, "origin")
			}
		}
	}
	stop.Store(true)
	hitters.Wait()
	// Nothing was stored: once the origin is healed, all answers are right.
	o.healed.Store(true)
	for fault, path := range paths {
		if got := x.get(path); got.StatusCode != 200 || !bytes.Equal(got.body, want.body) {
			t.Errorf("%s, healed: %s, %d bytes, want %d", fault, got.Status, len(got.body), len(want.body))
		}
	}
}
