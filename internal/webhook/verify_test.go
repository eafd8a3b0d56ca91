package webhook

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The example of the specification's reference libraries.
const (
	specSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	specID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	specTime      = 1614265330
	specBody      = `{"test": 2432232314}`
	specSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func at(seconds int64) func() time.Time { return func() time.Time { return time.Unix(seconds, 0) } }

func headers(id, timestamp, signature string) http.Header {
	h := http.Header{}
	for name, value := range map[string]string{
		"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	return h
}

func verify(t *testing.T, v *Verifier, h http.Header, body string) error {
	t.Helper()
	claim, err := v.Claim(h)
	if err == nil {
		err = v.Verify(claim, []byte(body))
	}
	if err != nil && !errors.Is(err, ErrUnverified) {
		t.Errorf("%v is not ErrUnverified", err)
	}
	return err
}

func TestVerifier_Verify_SpecificationExample(t *testing.T) {
	v, err := NewVerifier(at(specTime), "whsec_"+strings.Repeat("A", 32), specSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, signature := range []string{
		specSignature, "v1,xxxx " + specSignature, "v1a,abc " + specSignature + " v2,def",
	} {
		if err := verify(t, v, headers(specID, strconv.Itoa(specTime), signature), specBody); err != nil {
			t.Errorf("%s: %v", signature, err)
		}
	}
}

func TestVerifier_Verify_RejectsAnyChange(t *testing.T) {
	v, err := NewVerifier(at(specTime), specSecret)
	if err != nil {
		t.Fatal(err)
	}
	now := strconv.Itoa(specTime)
	for name, h := range map[string]http.Header{
		"id":              headers(specID+"x", now, specSignature),
		"time":            headers(specID, strconv.Itoa(specTime+1), specSignature),
		"no id":           headers("", now, specSignature),
		"no time":         headers(specID, "", specSignature),
		"no signature":    headers(specID, now, ""),
		"another version": headers(specID, now, strings.Replace(specSignature, "v1,", "v2,", 1)),
		"no version":      headers(specID, now, strings.TrimPrefix(specSignature, "v1,")),
		// the same bytes to a lenient decoder
		"another spelling":      headers(specID, now, strings.Replace(specSignature, "OE=", "OF=", 1)),
		"a time with a zero":    headers(specID, "0"+now, specSignature),
		"a time with a sign":    headers(specID, "+"+now, specSignature),
		"a time that overflows": headers(specID, "9223372036854775807", specSignature),
		"a time that does not":  headers(specID, "-9223372036854775808", specSignature),
		"too many signatures":   headers(specID, now, strings.Repeat("v1,x ", maxSignatures)+specSignature),
		"a long id":             headers(strings.Repeat("a", maxID+1), now, specSignature),
	} {
		if verify(t, v, h, specBody) == nil {
			t.Errorf("%s: it is good", name)
		}
	}
	for i := range specBody {
		body := []byte(specBody)
		body[i] ^= 1
		if verify(t, v, headers(specID, now, specSignature), string(body)) == nil {
			t.Errorf("byte %d: it is good", i)
		}
	}
	twice := headers(specID, now, specSignature)
	twice.Add("webhook-id", specID)
	if verify(t, v, twice, specBody) == nil {
		t.Error("two ids: it is good")
	}
	none, err := NewVerifier(at(specTime))
	if err != nil || verify(t, none, headers(specID, now, specSignature), specBody) == nil {
		t.Errorf("without secrets: %v, or it is good", err)
	}
}

func TestVerifier_Claim_Tolerance(t *testing.T) {
	for off, good := range map[int64]bool{-301: false, -300: true, 0: true, 300: true, 301: false, -1 << 62: false} {
		v, err := NewVerifier(at(specTime+off), specSecret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, v, headers(specID, strconv.Itoa(specTime), specSignature), specBody); (err == nil) != good {
			t.Errorf("%d s off: %v", off, err)
		}
	}
}

func TestParseSecrets_RejectsShortOrMalformed(t *testing.T) {
	for _, secret := range []string{
		"whsec", "whsec_", "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!",
	} {
		_, errList := ParseSecrets(specSecret + "\n" + secret)
		_, errVerifier := NewVerifier(nil, specSecret, secret)
		_, errSigner := NewSigner(specSecret, secret)
		for _, err := range []error{errList, errVerifier, errSigner} {
			if err == nil || !strings.Contains(err.Error(), "secret 2") || strings.Contains(err.Error(), "MfKQ") {
				t.Errorf("%q: %v", secret, err)
			}
		}
	}
}

func TestParseSecrets_Lists(t *testing.T) {
	other := "whsec_" + strings.Repeat("A", 32)
	got, err := ParseSecrets(specSecret + "," + other + "\r\n")
	if err != nil || !slices.Equal(got, []string{specSecret, other}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ParseSecrets(other + " " + other); err == nil || err.Error() != "secret 2 is a duplicate" {
		t.Errorf("duplicate: %v", err)
	}
}

func TestSigner_Sign_EverySecretSigns(t *testing.T) {
	other := "whsec_" + strings.Repeat("A", 32)
	s, err := NewSigner(other, specSecret)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	s.Sign(h, specID, time.Unix(specTime, 999), []byte(specBody))
	if got := strings.Fields(h.Get("webhook-signature")); len(got) != 2 || got[1] != specSignature {
		t.Errorf("signatures %q", got)
	}
	for _, secret := range []string{other, specSecret} {
		v, err := NewVerifier(at(specTime), secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(t, v, h, specBody); err != nil {
			t.Error(err)
		}
	}
	if _, err := NewSigner(); err == nil {
		t.Error("a Signer without secrets")
	}
}

func TestSigner_Replace_SignsWithNewSecrets(t *testing.T) {
	secret := func(n byte) string { return prefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{n}, 32)) }
	signer, err := NewSigner(secret(1))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := NewVerifier(at(1000), secret(2))
	if err != nil {
		t.Fatal(err)
	}
	signed := func() error {
		h := make(http.Header)
		signer.Sign(h, "msg_1", time.Unix(1000, 0), []byte("{}"))
		return verify(t, verifier, h, "{}")
	}
	if signed() == nil {
		t.Error("a webhook with the old secret is accepted")
	}
	if err := signer.Replace(secret(2)); err != nil {
		t.Fatal(err)
	}
	if err := signed(); err != nil {
		t.Errorf("a webhook with the new secret: %v", err)
	}
	for _, bad := range [][]string{nil, {"whsec_short"}} {
		if err := signer.Replace(bad...); err == nil {
			t.Errorf("secrets %q are accepted", bad)
		}
	}
	if err := signed(); err != nil {
		t.Errorf("after rejected secrets: %v", err)
	}
}

func TestVerifier_Replace_KeepsOldSecretsAfterError(t *testing.T) {
	v, err := NewVerifier(at(specTime))
	if err != nil || v.Set() {
		t.Fatalf("%v, set %v", err, v.Set())
	}
	if err := v.Replace(specSecret); err != nil || !v.Set() {
		t.Errorf("%v, set %v", err, v.Set())
	}
	if err := v.Replace("whsec_short"); err == nil || !v.Set() {
		t.Errorf("%v, set %v", err, v.Set())
	}
	if err := v.Replace(); err != nil || v.Set() {
		t.Errorf("%v, set %v", err, v.Set())
	}
}
