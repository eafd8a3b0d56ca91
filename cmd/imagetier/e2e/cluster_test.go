package e2e

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

// cluster starts a NATS server.
func cluster(t *testing.T) (url string) {
	t.Helper()
	srv, err := server.NewServer(
		&server.Options{
			Host:      "127.0.0.1",
			Port:      server.RANDOM_PORT,
			NoSigs:    true,
			NoLog:     true,
			JetStream: true,
			StoreDir:  t.TempDir(),
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	return srv.ClientURL()
}

// Nodes share a queue: after a node has stopped, another node does the jobs that it accepted.
func TestTier_Queue_SharedByNodes(t *testing.T) {
	t.Parallel()
	_, origin := newCountingOrigin(t, "phone-android.jpg")
	url := cluster(t)
	first := start(t,
		warmFlags(origin, "--warm", "all", "--cache-dir", t.TempDir(), "--nats", url, "--stream-replicas", "1")...)
	eventually(t, 20*time.Second, "the queue is there", func() bool {
		return metric(t, first, "imagetier_prefetch_queue_up") == "1"
	})
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		first.mustPostEvent("msg_"+id, published("p"+id, id+".jpg", "v.1"))
	}
	first.stop() // returns running jobs to the queue
	second := start(t,
		warmFlags(origin, "--warm", "all", "--cache-dir", t.TempDir(), "--nats", url, "--stream-replicas", "1")...)
	// The second node knows an event that the first accepted.
	eventually(t, 20*time.Second, "the queue is there", func() bool {
		return metric(t, second, "imagetier_prefetch_queue_up") == "1"
	})
	second.mustPostEvent("msg_1", published("p1", "1.jpg", "v.1"))
	if n := metric(t, second, `imagetier_prefetch_events_total{outcome="repeated",type="post.published"}`); n != "1" {
		t.Errorf("%s repetitions are known to the second node", n)
	}
	eventually(t, 60*time.Second, "the queue is empty", func() bool {
		return metric(t, second, "imagetier_prefetch_queue_jobs") == "0"
	})
	if done := metric(t, second, `imagetier_prefetch_jobs_total{outcome="ok"}`); done == "0" {
		t.Error("the second node did nothing")
	}
	second.stop()
}

// S3 servers that support NATS need no URL of the tier.
func TestTier_S3Notices_OverNATSWarm(t *testing.T) {
	t.Parallel()
	nats := cluster(t)
	s3 := s3server.Start(t, "--event-nats-url", nats, "--event-nats-topic", "imagetier.s3")
	s3.Bucket(t, "photos", false)
	env := []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	x := startWith(t, env, "--keys", key, "--cache-dir", t.TempDir(), "--warm", "all",
		"--nats", nats, "--stream-replicas", "1",
		"--source", "posts=s3://photos?region="+s3.Region+"&endpoint="+s3.Endpoint+"&path-style=true",
		"--image-prefix", "https://cdn.app.example/=posts?version=etag")
	eventually(t, 20*time.Second, "the queue is there", func() bool {
		return metric(t, x, "imagetier_prefetch_queue_up") == "1"
	})
	body, err := os.ReadFile(filepath.Join(photos(t), "phone-android.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	// The stream of notices is created after the node has started, so the first notices may be
	// lost. Each one that arrives is a job: the next is sent only if the previous one seems lost.
	var sent time.Time
	eventually(t, 30*time.Second, "a notice is taken in", func() bool {
		if time.Since(sent) > 2*time.Second {
			s3.Put(t, "photos", "a.jpg", body)
			sent = time.Now()
		}
		return metric(t, x, `imagetier_prefetch_events_total{outcome="accepted",type="s3.created"}`) != "0"
	})
	etag := s3.Put(t, "photos", "b.jpg", body).ETag
	path := signedPath(t, "/440x/e."+etag[1:len(etag)-1]+"/posts/b.jpg.webp")
	eventually(t, 30*time.Second, "b.jpg is warmed", func() bool {
		resp, err := http.Get(x.private + "/v1/explain?url=" + url.QueryEscape(path))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		explained, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(explained), `"memory"`)
	})
	x.get(path).want(t, 200, "memory")
	x.stop()
}
