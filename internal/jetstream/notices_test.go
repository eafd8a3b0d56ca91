package jetstream

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// cluster is an outside server on a port of this machine.
func cluster(t *testing.T) (url string) {
	t.Helper()
	return clusterOf(t, &server.Options{StoreDir: t.TempDir()}).ClientURL()
}

// clusterOf is a cluster with further options, which it completes.
func clusterOf(t *testing.T, options *server.Options) *server.Server {
	t.Helper()
	options.JetStream = true
	return natsOf(t, options)
}

// natsOf is like clusterOf, but has JetStream only if the options say so.
func natsOf(t *testing.T, options *server.Options) *server.Server {
	t.Helper()
	return serverOn(t, options, server.RANDOM_PORT)
}

func serverOn(t *testing.T, options *server.Options, port int) *server.Server {
	t.Helper()
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", port, true, true
	srv, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	return srv
}

func TestBus_Notices_OnceAndKeptWhileDown(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until the server is stopped and started")
	}
	url := cluster(t)
	b, stop := run(t, Config{URL: url, Replicas: 1})
	type notice struct{ id, data string }
	got := make(chan notice, 10)
	failures := 1
	listen := func(b *Bus) (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- b.Notices(ctx, func(_ context.Context, id string, data []byte) error {
				switch {
				case string(data) == "useless":
					return fmt.Errorf("read it: %w", ErrUseless)
				case string(data) == "third" && failures > 0:
					failures--
					return errors.New("the queue is full")
				}
				got <- notice{id, string(data)}
				return nil
			})
		}()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Notices: %v", err)
			}
		}
	}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if _, err := conn.Request(NoticeSubject, []byte(text), 10*time.Second); err != nil { // the stream answers
				t.Fatal(err)
			}
		}
	}
	want := func(text string) notice {
		t.Helper()
		select {
		case n := <-got:
			if n.data != text {
				t.Fatalf("got notice %q, want %q", n.data, text)
			}
			return n
		case <-time.After(30 * time.Second):
			t.Fatalf("no notice %q within 30 s", text)
			return notice{}
		}
	}
	end := listen(b)
	// The stream is there when its first notice is answered.
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err := conn.Request(NoticeSubject, []byte("first"), time.Second); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	first := want("first")
	publish("useless", "second")
	if second := want("second"); second.id == first.id {
		t.Errorf("two notices have one id, %q", first.id)
	}
	end()
	stop()
	publish("third", "fourth")
	b, _ = run(t, Config{URL: url, Replicas: 1})
	defer listen(b)()
	want("fourth") // the third was not accepted, and is redelivered
	want("third")
	select {
	case n := <-got:
		t.Errorf("notice %q was delivered twice", n.data)
	default:
	}
}
