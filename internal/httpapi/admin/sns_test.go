package admin

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/internal/guard"
)

const snsTopic = "arn:aws:sns:eu-central-1:123456789012:photos"

// fakeSNS answers for the hosts of Amazon SNS.
type fakeSNS struct {
	key       *rsa.PrivateKey
	down      bool
	expired   bool
	hangs     bool // no answer
	stalls    bool // no body
	redirects bool
	endless   bool // bodies
	read      int  // bytes of bodies
	visited   []string
}

func newFakeSNS(t *testing.T) *fakeSNS {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeSNS{key: key}
}

// pem returns the certificate. It is signed by itself, as no authority is checked.
func (s *fakeSNS) pem() []byte {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
	if s.expired {
		template.NotAfter = time.Now().Add(-24 * time.Hour)
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, s.key.Public(), s.key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
}

// snsBody is a body that never ends, or never comes.
type snsBody struct {
	*fakeSNS
	ctx context.Context
}

func (b snsBody) Read(p []byte) (int, error) {
	if b.stalls {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	b.read += len(p)
	return len(p), nil
}

func (snsBody) Close() error { return nil }

func (s *fakeSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.down {
		return nil, errors.New("no route to host")
	}
	s.visited = append(s.visited, r.URL.String())
	if s.hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	text := []byte("<ConfirmSubscriptionResponse/>")
	if strings.HasSuffix(r.URL.Path, ".pem") {
		text = s.pem()
	}
	body := io.NopCloser(bytes.NewReader(text))
	if s.endless || s.stalls {
		body = snsBody{s, r.Context()}
	}
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, Body: body, Request: r}
	if s.redirects {
		resp.StatusCode, resp.Status = http.StatusFound, "302 Found"
		resp.Header.Set("Location", "http://169.254.169.254/latest/meta-data/")
	}
	return resp, nil
}

// message returns a signed request to confirm a subscription.
func (s *fakeSNS) message(t *testing.T) snsMessage {
	t.Helper()
	m := snsMessage{
		Type: "SubscriptionConfirmation", MessageID: "165545c9", Token: "2336412f", TopicArn: snsTopic,
		Message: "You have chosen to subscribe to the topic.\nVisit the URL.", Timestamp: "2026-11-30T10:00:00.000Z",
		SubscribeURL:     "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f",
		SigningCertURL:   "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem",
		SignatureVersion: "2",
	}
	sum := sha256.Sum256(m.signed())
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	m.Signature = base64.StdEncoding.EncodeToString(signature)
	return m
}

func TestNotice_SNS_ConfirmsTheTopic(t *testing.T) {
	const confirmed, refused = `msg="SNS subscription confirmed"`, `msg="SNS subscription not confirmed"`
	for name, c := range map[string]struct {
		change func(*snsMessage)
		topic  string
		server func(*fakeSNS)
		status int
		log    string
		visits int
	}{
		"the topic":     {topic: snsTopic, status: 202, log: confirmed, visits: 2},
		"another topic": {topic: snsTopic + "2", status: 202, log: refused},
		"no topic":      {status: 202, log: "set --s3-events-sns-topic"},
		"SNS is away": {
			server: func(s *fakeSNS) { s.down = true },
			topic:  snsTopic, status: 503, log: "no route to host",
		},
		"SNS hangs": {
			server: func(s *fakeSNS) { s.hangs = true },
			topic:  snsTopic, status: 503, log: "deadline exceeded", visits: 1,
		},
		"SNS sends no body": {
			server: func(s *fakeSNS) { s.stalls = true },
			topic:  snsTopic, status: 503, log: "deadline exceeded", visits: 1,
		},
		"a redirect": {
			server: func(s *fakeSNS) { s.redirects = true },
			topic:  snsTopic, status: 503, log: "answered 302 Found", visits: 1,
		},
		"an endless certificate": {
			server: func(s *fakeSNS) { s.endless = true },
			topic:  snsTopic, status: 202, log: refused, visits: 1,
		},
		"an expired certificate": {
			server: func(s *fakeSNS) { s.expired = true },
			topic:  snsTopic, status: 202, log: "the certificate is valid from", visits: 1,
		},
		"a changed message": {
			change: func(m *snsMessage) { m.Token += "0" },
			topic:  snsTopic, status: 202, log: refused, visits: 1,
		},
		"another host of the certificate": {
			change: func(m *snsMessage) {
				m.SigningCertURL = "https://sns.eu-central-1.amazonaws.com.evil.example/a.pem"
			},
			topic: snsTopic, status: 202, log: refused,
		},
		"a certificate over HTTP": {
			change: func(m *snsMessage) { m.SigningCertURL = "http://sns.eu-central-1.amazonaws.com/a.pem" },
			topic:  snsTopic, status: 202, log: refused,
		},
		"no signature": {
			change: func(m *snsMessage) { m.Signature = "" },
			topic:  snsTopic, status: 202, log: refused, visits: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			sns := newFakeSNS(t)
			if c.server != nil {
				c.server(sns)
			}
			m := sns.message(t)
			if c.change != nil {
				c.change(&m)
			}
			body, err := json.Marshal(map[string]string{
				"Type": m.Type, "MessageId": m.MessageID, "Token": m.Token, "TopicArn": m.TopicArn,
				"Message": m.Message, "SubscribeURL": m.SubscribeURL, "Timestamp": m.Timestamp,
				"SignatureVersion": m.SignatureVersion, "Signature": m.Signature, "SigningCertURL": m.SigningCertURL,
			})
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			h := (&intake{}).handler(t, func(cfg *Config) {
				cfg.Dev, cfg.Log = true, slog.New(slog.NewTextHandler(&log, nil))
				if c.topic != "" {
					cfg.SNS = &SNS{Topic: c.topic, Transport: sns}
				}
			})
			r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/events/s3", bytes.NewReader(body))
			var status int
			var answer string
			synctest.Test(t, func(t *testing.T) { status, _, answer = answerTo(t, h, r) }) // SNS may hang
			if sns.read > 2*maxSNSAnswer {
				t.Errorf("%d bytes were read", sns.read)
			}
			if status != c.status || len(sns.visited) != c.visits || !strings.Contains(log.String(), c.log) {
				t.Errorf("%d %s, visited %q, log %s", status, answer, sns.visited, &log)
			}
		})
	}
}

// SNS sends credentials only after an answer that offers Basic.
func TestNotice_Unauthorized_OffersBasic(t *testing.T) {
	h := (&intake{}).handler(t, func(cfg *Config) { cfg.S3EventsToken = guard.NewToken("0123456789abcdef") })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/v1/events/s3", strings.NewReader(`{}`)))
	if got := w.Header().Values("Www-Authenticate"); w.Code != 401 || len(got) != 2 || !strings.HasPrefix(got[1], "Basic ") {
		t.Errorf("%d %q", w.Code, got)
	}
}
