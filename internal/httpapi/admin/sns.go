package admin

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/problem"
)

// snsMessage is a request of Amazon SNS to confirm a subscription
// (docs.aws.amazon.com/sns/latest/dg/http-subscription-confirmation-json.html).
type snsMessage struct {
	Type, MessageID, Token, TopicArn, Message, SubscribeURL, Timestamp string
	SignatureVersion, Signature, SigningCertURL                        string
}

// snsConfirmation returns the message if body asks for the confirmation of a subscription.
func snsConfirmation(body []byte) (m snsMessage, ok bool) {
	err := json.Unmarshal(body, &m)
	return m, err == nil && m.Type == "SubscriptionConfirmation"
}

// signed is the text that Signature signs.
func (m snsMessage) signed() []byte {
	var b strings.Builder
	for _, field := range [][2]string{
		{"Message", m.Message}, {"MessageId", m.MessageID}, {"SubscribeURL", m.SubscribeURL},
		{"Timestamp", m.Timestamp}, {"Token", m.Token}, {"TopicArn", m.TopicArn}, {"Type", m.Type},
	} {
		b.WriteString(field[0] + "\n" + field[1] + "\n")
	}
	return []byte(b.String())
}

// SNS confirms the subscriptions of one topic of Amazon SNS to POST /v1/events/s3.
type SNS struct {
	Topic string // ARN; subscriptions of other topics are not confirmed
	// Transport requests certificates and confirms. If nil, the default one is used.
	Transport http.RoundTripper
}

// snsHost matches the hosts of SNS in all regions and partitions.
var snsHost = regexp.MustCompile(`^sns\.[a-z]{2}(-[a-z]+)+-\d\.amazonaws\.com(\.cn)?$`)

// Bounds of a request to SNS, which itself waits 15 s for an answer.
const (
	snsTimeout   = 5 * time.Second
	maxSNSAnswer = 64 << 10 // bytes of a body; more are not read. Also of headers.
)

// errSNSRefused wraps why a confirmation is refused for good.
var errSNSRefused = errors.New("refused")

// confirm verifies a message, and visits the URL that confirms the subscription. Its error wraps
// errSNSRefused if trying again changes nothing.
func (s *SNS) confirm(ctx context.Context, m snsMessage) error {
	if m.TopicArn != s.Topic {
		return fmt.Errorf("%w: its topic is not that of --s3-events-sns-topic, %s", errSNSRefused, s.Topic)
	}
	certificate, err := s.get(ctx, m.SigningCertURL)
	if err != nil {
		return fmt.Errorf("SigningCertURL: %w", err)
	}
	if err := m.verify(certificate); err != nil {
		return fmt.Errorf("%w: signature: %w", errSNSRefused, err)
	}
	if _, err := s.get(ctx, m.SubscribeURL); err != nil {
		return fmt.Errorf("SubscribeURL: %w", err)
	}
	return nil
}

// verify checks the signature with a certificate in PEM. No authority is checked: the certificate came from SNS over
// HTTPS.
func (m snsMessage) verify(certificate []byte) error {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return errors.New("the certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return fmt.Errorf("the certificate is valid from %s to %s",
			cert.NotBefore.Format(time.RFC3339), cert.NotAfter.Format(time.RFC3339))
	}
	signature, err := base64.StdEncoding.DecodeString(m.Signature)
	if err != nil {
		return err
	}
	algorithm := x509.SHA1WithRSA // the default of topics
	if m.SignatureVersion == "2" {
		algorithm = x509.SHA256WithRSA
	}
	return cert.CheckSignature(algorithm, m.signed(), signature)
}

var snsTransport = func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = maxSNSAnswer
	return t
}()

// get requests a URL of SNS, and of no other host.
func (s *SNS) get(ctx context.Context, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || !snsHost.MatchString(u.Host) || u.User != nil {
		return nil, fmt.Errorf("%w: %q is not an HTTPS address of SNS", errSNSRefused, address)
	}
	ctx, cancel := context.WithTimeout(ctx, snsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport:     s.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Transport == nil {
		client.Transport = snsTransport
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxSNSAnswer))
}

// confirmSNS confirms a subscription of the configured topic. Otherwise it logs what to do. Its error
// is problem.ErrConfirmation if SNS should ask again.
func (p *api) confirmSNS(ctx context.Context, m snsMessage) error {
	if p.SNS == nil {
		p.Log.Warn("SNS subscription not confirmed: set --s3-events-sns-topic to its topic, or visit the URL",
			"topic", m.TopicArn, "url", m.SubscribeURL)
		p.count("", "ignored")
		return nil
	}
	err := p.SNS.confirm(ctx, m)
	switch {
	case err == nil:
		p.Log.Info("SNS subscription confirmed", "topic", m.TopicArn)
		p.count("", "accepted")
		return nil
	case errors.Is(err, errSNSRefused):
		p.Log.Error("SNS subscription not confirmed", "topic", m.TopicArn, "err", err)
		p.count("", "invalid")
		return nil
	}
	p.count("", "failed")
	return fmt.Errorf("%w: %w", problem.ErrConfirmation, err)
}
