package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/novasocial/imagetier/gateway/auth"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk returns the public half of a key as a member of a JWKS.
func jwk(id string, key crypto.Signer, more ...string) string {
	fields := map[string]string{"kid": id, "use": "sig"}
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		fields["kty"], fields["n"], fields["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		fields["kty"], fields["crv"], fields["x"], fields["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case ed25519.PublicKey:
		fields["kty"], fields["crv"], fields["x"] = "OKP", "Ed25519", b64(public)
	}
	for i := 0; i < len(more); i += 2 {
		fields[more[i]] = more[i+1]
	}
	text, _ := json.Marshal(fields)
	return string(text)
}

func jwks(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }

var (
	rsaKey   = must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	otherKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, edKey = mustEd()
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func mustEd() (ed25519.PublicKey, ed25519.PrivateKey) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return public, private
}

// validClaims returns the claims of a valid token.
func validClaims() jwt.MapClaims {
	return jwt.MapClaims{
		"sub": "user1",
		"exp": time.Now().Add(time.Hour).Unix(),
		"iss": "https://id.app.example",
		"aud": []string{"feed"},
	}
}

func with(name string, value any) jwt.MapClaims {
	c := validClaims()
	if c[name] = value; value == nil {
		delete(c, name)
	}
	return c
}

func token(method jwt.SigningMethod, id string, key any, claims jwt.MapClaims) string {
	tok := jwt.NewWithClaims(method, claims)
	if id != "" {
		tok.Header["kid"] = id
	}
	text, err := tok.SignedString(key)
	if err != nil {
		panic(err)
	}
	return "Bearer " + text
}

// tokenWithHeader returns a token signed by ecKey with one more header parameter.
func tokenWithHeader(name string, value any) string {
	tok := jwt.NewWithClaims(jwt.SigningMethodES256, validClaims())
	tok.Header["kid"] = "e"
	tok.Header[name] = value
	return "Bearer " + must(tok.SignedString(ecKey))
}

// fakeServer answers as the JWKS server: status 0 refuses the connection.
type fakeServer func() (int, string)

func (s fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s()
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{
		StatusCode: status,
		Status:     http.StatusText(status),
		Body:       io.NopCloser(strings.NewReader(body)),
		Header:     http.Header{},
		Request:    r,
	}, nil
}

// run calls test with a running Verifier, under fake time.
func run(t *testing.T, cfg auth.Config, s fakeServer, test func(user func(authorization ...string) (string, error))) {
	synctest.Test(t, func(t *testing.T) {
		cfg.JWKS, _ = url.Parse("https://id.app.example/jwks.json")
		cfg.Transport = s
		v := auth.New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		test(func(authorization ...string) (string, error) {
			return v.User(t.Context(), http.Header{"Authorization": authorization})
		})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// mixedSet answers usable and unusable keys; two keys share the kid "same".
func mixedSet() (int, string) {
	return 200, jwks(
		jwk("r", rsaKey),
		jwk("e", ecKey),
		jwk("d", edKey),
		`{"kty":"oct","kid":"o","k":"c2VjcmV0"}`,
		`{"kty":"EC","crv":"P-999","kid":"x"}`,
		jwk("enc", rsaKey, "use", "enc"),
		`7`,
		jwk("same", otherKey),
		jwk("same", ecKey),
		jwk("alg", rsaKey, "alg", "RS512"),
	)
}

func TestVerifier_User_ValidToken(t *testing.T) {
	run(
		t,
		auth.Config{Issuer: "https://id.app.example", Audience: "feed", Leeway: time.Minute},
		mixedSet,
		func(user func(...string) (string, error)) {
			for _, authorization := range []string{
				token(jwt.SigningMethodRS256, "r", rsaKey, validClaims()),
				token(jwt.SigningMethodPS384, "r", rsaKey, validClaims()),
				token(jwt.SigningMethodES256, "e", ecKey, validClaims()),
				token(jwt.SigningMethodEdDSA, "d", edKey, validClaims()),
				token(jwt.SigningMethodRS512, "alg", rsaKey, validClaims()),
				token(jwt.SigningMethodES256, "same", ecKey, validClaims()),
				token(jwt.SigningMethodES256, "same", otherKey, validClaims()),
				token(jwt.SigningMethodES256, "", ecKey, validClaims()), // without a kid every key is tried
				strings.Replace(token(jwt.SigningMethodES256, "e", ecKey, validClaims()), "Bearer", "bearer", 1),
				// within the leeway
				token(jwt.SigningMethodES256, "e", ecKey, with("exp", time.Now().Add(-50*time.Second).Unix())),
			} {
				if got, err := user(authorization); got != "user1" || err != nil {
					t.Errorf("%.60s: %q, %v", authorization, got, err)
				}
			}
			if got, err := user(); got != "" || err != nil {
				t.Errorf("without a token: %q, %v", got, err)
			}
		},
	)
}

func TestVerifier_User_InvalidToken(t *testing.T) {
	unknownKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := must(x509.MarshalPKIXPublicKey(rsaKey.Public()))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	run(
		t,
		auth.Config{Issuer: "https://id.app.example", Audience: "feed", Leeway: time.Minute},
		mixedSet,
		func(user func(...string) (string, error)) {
			valid := token(jwt.SigningMethodES256, "e", ecKey, validClaims())
			critical := tokenWithHeader("crit", []string{"b64"})
			numericKid := tokenWithHeader("kid", 7)
			for name, authorization := range map[string][]string{
				"empty":             {""},
				"no token":          {"Bearer "},
				"basic":             {"Basic dTpw"},
				"malformed":         {"Bearer nonsense"},
				"two headers":       {valid, valid},
				"truncated":         {valid[:len(valid)-2]},
				"wrong key":         {token(jwt.SigningMethodES256, "e", unknownKey, validClaims())},
				"unknown key":       {token(jwt.SigningMethodES256, "new", unknownKey, validClaims())},
				"no kid, other key": {token(jwt.SigningMethodES256, "", unknownKey, validClaims())},
				"none": {
					token(jwt.SigningMethodNone, "e", jwt.UnsafeAllowNoneSignatureType, validClaims()),
				},
				"public key as HMAC": {token(jwt.SigningMethodHS256, "r", publicPEM, validClaims())},
				"symmetric of set":   {token(jwt.SigningMethodHS256, "o", []byte("secret"), validClaims())},
				"encryption key":     {token(jwt.SigningMethodRS256, "enc", rsaKey, validClaims())},
				"algorithm of key":   {token(jwt.SigningMethodRS256, "alg", rsaKey, validClaims())},
				"crit header":        {critical},
				"kid not a string":   {numericKid},
				"expired": {
					token(jwt.SigningMethodES256, "e", ecKey, with("exp", time.Now().Add(-2*time.Minute).Unix())),
				},
				"no expiry": {token(jwt.SigningMethodES256, "e", ecKey, with("exp", nil))},
				"not yet": {
					token(jwt.SigningMethodES256, "e", ecKey, with("nbf", time.Now().Add(2*time.Minute).Unix())),
				},
				"issuer":            {token(jwt.SigningMethodES256, "e", ecKey, with("iss", "https://else.example"))},
				"no issuer":         {token(jwt.SigningMethodES256, "e", ecKey, with("iss", nil))},
				"audience":          {token(jwt.SigningMethodES256, "e", ecKey, with("aud", "ads"))},
				"no subject":        {token(jwt.SigningMethodES256, "e", ecKey, with("sub", nil))},
				"subject anonymous": {token(jwt.SigningMethodES256, "e", ecKey, with("sub", "anonymous"))},
				"long subject": {
					token(jwt.SigningMethodES256, "e", ecKey, with("sub", strings.Repeat("u", 257))),
				},
				"long": {"Bearer " + strings.Repeat("a", 20<<10)},
			} {
				got, err := user(authorization...)
				if got != "" || !errors.Is(err, auth.ErrToken) {
					t.Errorf("%s: %q, %v", name, got, err)
				}
				// The algorithm is checked before any key.
				symmetric := strings.Contains(name, "MAC") || name == "none" || name == "symmetric of set"
				if symmetric && !strings.Contains(fmt.Sprint(err), "signing method") {
					t.Errorf("%s: %v", name, err)
				}
			}
		},
	)
}

func TestVerifier_User_StaticToken(t *testing.T) {
	v := auth.New(auth.Config{Static: map[string]string{"test-token": "user1"}})
	for authorization, want := range map[string]string{
		"Bearer test-token":  "user1",
		"Bearer test-toke":   "",
		"Bearer test-token2": "",
	} {
		got, err := v.User(t.Context(), http.Header{"Authorization": {authorization}})
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s: %q, %v", authorization, got, err)
		}
	}
}

// The JWKS server is down at the start, comes up, goes down, changes its keys and answers
// malformed sets.
func TestVerifier_User_JWKSOutage(t *testing.T) {
	var fetches atomic.Int32
	var answer atomic.Pointer[func() (int, string)]
	serve := func(status int, body string) { f := func() (int, string) { return status, body }; answer.Store(&f) }
	serve(0, "")
	run(
		t,
		auth.Config{},
		func() (int, string) { fetches.Add(1); return (*answer.Load())() },
		func(user func(...string) (string, error)) {
			long := with("exp", time.Now().Add(100*time.Hour).Unix())
			old := token(jwt.SigningMethodES256, "e", ecKey, long)
			next := token(jwt.SigningMethodEdDSA, "d", edKey, long)
			if _, err := user(old); !errors.Is(err, auth.ErrKeys) {
				t.Errorf("before the first fetch: %v", err)
			}
			started := time.Now()
			if _, err := user(old); !errors.Is(err, auth.ErrKeys) || time.Since(started) > 0 {
				t.Errorf("while it is down: %v after %s", err, time.Since(started))
			}
			serve(200, jwks(jwk("e", ecKey)))
			time.Sleep(time.Minute)
			if got, err := user(old); got != "user1" {
				t.Errorf("after the first fetch: %q, %v", got, err)
			}
			for _, bad := range []func(){
				func() { serve(0, "") },
				func() { serve(500, "") },
				func() { serve(200, "<html>") },
				func() { serve(200, jwks()) },
				func() { serve(200, jwks(`{"kty":"oct","k":"AAAA"}`)) },
				func() { serve(200, jwks(jwk("d", edKey), `"`+strings.Repeat("a", 1<<20)+`"`)) }, // more than is read
				func() { serve(200, jwks(append(slices.Repeat([]string{"{}"}, 1000), jwk("d", edKey))...)) },
			} {
				bad()
				time.Sleep(time.Hour)
				if got, err := user(old); got != "user1" {
					t.Errorf("during an outage: %q, %v", got, err)
				}
				for range 2 { // the second soon after a failed fetch
					if got, err := user(next); !errors.Is(err, auth.ErrKeys) {
						t.Errorf("a new key during an outage: %q, %v", got, err)
					}
				}
			}
			// A new key is fetched on first use.
			serve(200, jwks(jwk("e", ecKey), jwk("d", edKey)))
			time.Sleep(time.Minute)
			if got, err := user(next); got != "user1" {
				t.Errorf("signed by a new key: %q, %v", got, err)
			}
			// Forged tokens cause no traffic.
			time.Sleep(2 * time.Second)
			before := fetches.Load()
			for i := range 100 {
				forged := token(jwt.SigningMethodEdDSA, fmt.Sprint("forged", i), edKey, long)
				if _, err := user(forged); !errors.Is(err, auth.ErrToken) {
					t.Errorf("forged: %v", err)
				}
			}
			if n := fetches.Load() - before; n > 1 {
				t.Errorf("100 forged tokens made %d requests", n)
			}
			// A removed key is no longer accepted.
			serve(200, jwks(jwk("d", edKey)))
			time.Sleep(time.Hour)
			if got, err := user(old); !errors.Is(err, auth.ErrToken) {
				t.Errorf("signed by a removed key: %q, %v", got, err)
			}
		},
	)
}
