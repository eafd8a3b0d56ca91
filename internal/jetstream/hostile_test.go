package jetstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const greeting = `INFO {"server_id":"x","version":"2.11.0","proto":1,"headers":true,"max_payload":1048576}` + "\r\n"

// hostileServer listens like a server of NATS. greet is what it sends first; after the client's CONNECT
// and PING it sends PONG and then attack, and answers each request of JetStream's API with answer.
type hostileServer struct{ greet, attack, answer string }

func (h hostileServer) start(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var conns sync.Map
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, nil)
			serving.Go(func() {
				h.serve(conn)
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		serving.Wait()
	})
	return "nats://" + l.Addr().String()
}

func (h hostileServer) serve(conn net.Conn) {
	if sendTo(conn, h.greet) != nil {
		return
	}
	sid := "1"
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "PING":
			if sendTo(conn, "PONG\r\n") != nil || sendTo(conn, h.attack) != nil {
				return
			}
		case fields[0] == "SUB":
			sid = fields[len(fields)-1]
		case strings.HasSuffix(fields[0], "PUB") && len(fields) > 3 && h.answer != "":
			if sendTo(conn, fmt.Sprintf("MSG %s %s %d\r\n%s\r\n", fields[2], sid, len(h.answer), h.answer)) != nil {
				return
			}
		}
	}
}

// sendTo sends text; what follows … is repeated until the client closes the connection.
func sendTo(conn net.Conn, text string) error {
	text, more, endless := strings.Cut(text, "…")
	_, err := conn.Write([]byte(text))
	more = strings.Repeat(more, 10_000)
	for endless && err == nil {
		_, err = conn.Write([]byte(more))
	}
	return err
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// With a hostile server, the client neither crashes nor takes much memory, requests fail at their
// deadline, and Run ends with its context.
func TestBus_Run_HostileServer(t *testing.T) {
	const tooLong, tooLarge = "a line of more than 65536 bytes", "more than 8388608"
	attacks := func(attack string) hostileServer { return hostileServer{greet: greeting, attack: attack} }
	for name, c := range map[string]struct {
		server hostileServer
		log    string
	}{
		"endless greeting": {hostileServer{greet: "INFO {…aaaaaaaa"}, tooLong},
		"garbage greeting": {hostileServer{greet: "HTTP/1.1 400 Bad Request\r\n\r\n"}, "queue unavailable"},
		"garbage JSON":     {hostileServer{greet: "INFO {\"server_id\":[\r\n"}, "queue unavailable"},
		"TLS without TLS": {
			hostileServer{greet: "INFO {\"tls_required\":true}\r\n\x16\x03\x03…aaaa"}, "queue unavailable",
		},
		"endless error":    {attacks("-ERR '…aaaaaaaa"), tooLong},
		"endless message":  {attacks("MSG a…aaaaaaaa"), tooLong},
		"huge message":     {attacks("MSG a 1 99999999999\r\n…aaaa"), tooLarge},
		"absurd message":   {attacks("MSG a 1 9223372036854775807\r\na"), tooLarge},
		"overflowing size": {attacks("MSG a 1 92233720368547758089\r\na"), "size of a message"},
		"huge headers":     {attacks("HMSG a 1 9 99999999999\r\na"), tooLarge},
		"small letters":    {attacks("msg\ta 1 99999999999\r\na"), tooLarge},
		"hidden size":      {attacks("MSG a 1 99999999999\r9\r\na"), "carriage return"},
		"message in message": {
			attacks("MSG a 1 1\r\na\nMSG a 1 3\r\nMSG a 1 99999999999\r\na"), tooLarge,
		},
		"endless garbage": {attacks("\xff\x00…\xff\x00\n"), "queue connection"},
		"no answers":      {hostileServer{greet: greeting}, ""},
		"empty answers":   {hostileServer{greet: greeting, answer: "{}"}, ""},
		"answers of null": {hostileServer{greet: greeting, answer: "null"}, ""},
		"broken answers": {
			hostileServer{greet: greeting, answer: `{"state":{"messages":-1,"lost":{"msgs":[`}, "queue unavailable",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &syncBuffer{}
			b, err := New(Config{URL: c.server.start(t), Log: slog.New(slog.NewTextHandler(log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			until(t, "a line of the log: "+c.log, func() bool { return strings.Contains(log.String(), c.log) })
			if c.log == "" {
				short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
				if _, err := b.Put(short, "id", Message{Data: []byte("x")}); err == nil {
					t.Error("it is queued")
				}
				stop()
			}
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// The greeting is read before the client checks anything.
func TestBoundedConn_Memory(t *testing.T) {
	url := hostileServer{greet: "INFO {…aaaaaaaa"}.start(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := connect(url)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
		t.Error(err)
	}
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 16<<20 {
		t.Errorf("%d MiB were allocated", allocated>>20)
	}
}

// A real server is not in the way of the bounds, with TLS either.
func TestBoundedConn_LargestMessage(t *testing.T) {
	certificate := httptest.NewTLSServer(nil)
	certificate.Close()
	pool := x509.NewCertPool()
	pool.AddCert(certificate.Certificate())
	for name, secure := range map[string]*tls.Config{"plain": nil, "TLS": certificate.TLS} {
		t.Run(name, func(t *testing.T) {
			srv, err := server.NewServer(&server.Options{
				Host: "127.0.0.1", Port: server.RANDOM_PORT, MaxPayload: maxPayload, NoSigs: true,
				TLS: secure != nil, TLSConfig: secure,
			})
			if err != nil {
				t.Fatal(err)
			}
			go srv.Start()
			defer srv.Shutdown()
			if !srv.ReadyForConnections(10 * time.Second) {
				t.Fatal("the server does not start")
			}
			options := []nats.Option{bounded(srv.ClientURL(), 5*time.Second)}
			if secure != nil {
				options = append(options, nats.Secure(&tls.Config{RootCAs: pool, ServerName: "example.com"}))
			}
			conn, err := nats.Connect(srv.ClientURL(), options...)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, isTLS := conn.TLSConnectionState(); (isTLS == nil) != (secure != nil) {
				t.Errorf("TLS: %v", isTLS)
			}
			got, err := conn.SubscribeSync("a")
			if err != nil {
				t.Fatal(err)
			}
			m := &nats.Msg{Subject: "a", Header: nats.Header{"X": {"y"}}, Data: make([]byte, maxPayload-100)}
			for range 3 {
				if err := errors.Join(conn.PublishMsg(m), conn.Publish("a", nil)); err != nil {
					t.Fatal(err)
				}
				for _, size := range []int{len(m.Data), 0} {
					if msg, err := got.NextMsg(10 * time.Second); err != nil || len(msg.Data) != size {
						t.Fatalf("want %d bytes, %v", size, err)
					}
				}
			}
		})
	}
}
