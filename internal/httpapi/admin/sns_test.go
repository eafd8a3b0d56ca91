package admin

import (
	"bytes"
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

	"github.com/novasocial/imagetier/internal/guard"
)

const snsTopic = "arn:aws:sns:eu-central-1:123456789012:photos"

// fakeSNS answers for the hosts of Amazon SNS.
type fakeSNS struct {
	certificate []byte
	key         *rsa.PrivateKey
	down        bool
	visited     []string
}

func newFakeSNS(t *testing.T) *fakeSNS {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeSNS{key: key, certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})}
}

func (s *fakeSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.down {
		return nil, errors.New("no route to host")
	}
	s.visited = append(s.visited, r.URL.String())
	body := []byte("<ConfirmSubscriptionResponse/>")
	if strings.HasSuffix(r.URL.Path, ".pem") {
		body = s.certificate
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
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
		down   bool
		status int
		log    string
		visits int
	}{
		"the topic":     {topic: snsTopic, status: 202, log: confirmed, visits: 2},
		"another topic": {topic: snsTopic + "2", status: 202, log: refused},
		"no topic":      {status: 202, log: "set --s3-events-sns-topic"},
		"SNS is away":   {topic: snsTopic, down: true, status: 503, log: "no route to host"},
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
			sns.down = c.down
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
					cfg.SNS = &SNS{Topic: c.topic, Client: &http.Client{Transport: sns}}
				}
			})
			r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/events/s3", bytes.NewReader(body))
			status, _, answer := answerTo(t, h, r)
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
