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
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/novasocial/imagetier/gateway/auth"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public half of a key, as JWKS have it.
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

// good is what a good token claims.
func good() jwt.MapClaims {
	return jwt.MapClaims{"sub": "user1", "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://id.app.example", "aud": []string{"feed"}}
}

func with(name string, value any) jwt.MapClaims {
	c := good()
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

// server is a JWKS server as a function.
type server func() (int, string)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := s()
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

// run calls test beside a Verifier in a bubble of its own time.
func run(t *testing.T, cfg auth.Config, s server, test func(user func(authorization ...string) (string, error))) {
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

func all() (int, string) {
	return 200, jwks(jwk("r", rsaKey), jwk("e", ecKey), jwk("d", edKey), `{"kty":"oct","kid":"o","k":"c2VjcmV0"}`, `{"kty":"EC","crv":"P-999","kid":"x"}`, jwk("enc", rsaKey, "use", "enc"), `7`)
}

func TestATokenThatAKeyOfTheSetVerifiesIsItsSubjects(t *testing.T) {
	run(t, auth.Config{Issuer: "https://id.app.example", Audience: "feed"}, all, func(user func(...string) (string, error)) {
		for _, authorization := range []string{
			token(jwt.SigningMethodRS256, "r", rsaKey, good()),
			token(jwt.SigningMethodPS384, "r", rsaKey, good()),
			token(jwt.SigningMethodES256, "e", ecKey, good()),
			token(jwt.SigningMethodEdDSA, "d", edKey, good()),
			token(jwt.SigningMethodES256, "", ecKey, good()), // names no key: each is tried
			strings.Replace(token(jwt.SigningMethodES256, "e", ecKey, good()), "Bearer", "bearer", 1),
			token(jwt.SigningMethodES256, "e", ecKey, with("exp", time.Now().Add(-5*time.Second).Unix())), // clocks differ
		} {
			if got, err := user(authorization); got != "user1" || err != nil {
				t.Errorf("%.60s: %q, %v", authorization, got, err)
			}
		}
		if got, err := user(); got != "" || err != nil {
			t.Errorf("without a token: %q, %v", got, err)
		}
	})
}

func TestATokenThatIsNotGoodIsNeverNobody(t *testing.T) {
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	public := must(x509.MarshalPKIXPublicKey(rsaKey.Public()))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	run(t, auth.Config{Issuer: "https://id.app.example", Audience: "feed"}, all, func(user func(...string) (string, error)) {
		fine := token(jwt.SigningMethodES256, "e", ecKey, good())
		for name, authorization := range map[string][]string{
			"empty":              {""},
			"no token":           {"Bearer "},
			"basic":              {"Basic dTpw"},
			"nonsense":           {"Bearer nonsense"},
			"two headers":        {fine, fine},
			"cut":                {fine[:len(fine)-2]},
			"another's key":      {token(jwt.SigningMethodES256, "e", other, good())},
			"unknown key":        {token(jwt.SigningMethodES256, "new", other, good())},
			"no kid, other key":  {token(jwt.SigningMethodES256, "", other, good())},
			"none":               {token(jwt.SigningMethodNone, "e", jwt.UnsafeAllowNoneSignatureType, good())},
			"public key as HMAC": {token(jwt.SigningMethodHS256, "r", publicPEM, good())},
			"symmetric of set":   {token(jwt.SigningMethodHS256, "o", []byte("secret"), good())},
			"encryption key":     {token(jwt.SigningMethodRS256, "enc", rsaKey, good())},
			"expired":            {token(jwt.SigningMethodES256, "e", ecKey, with("exp", time.Now().Add(-time.Minute).Unix()))},
			"for ever":           {token(jwt.SigningMethodES256, "e", ecKey, with("exp", nil))},
			"not yet":            {token(jwt.SigningMethodES256, "e", ecKey, with("nbf", time.Now().Add(time.Minute).Unix()))},
			"issuer":             {token(jwt.SigningMethodES256, "e", ecKey, with("iss", "https://else.example"))},
			"no issuer":          {token(jwt.SigningMethodES256, "e", ecKey, with("iss", nil))},
			"audience":           {token(jwt.SigningMethodES256, "e", ecKey, with("aud", "ads"))},
			"no subject":         {token(jwt.SigningMethodES256, "e", ecKey, with("sub", nil))},
			"subject anonymous":  {token(jwt.SigningMethodES256, "e", ecKey, with("sub", "anonymous"))},
			"long subject":       {token(jwt.SigningMethodES256, "e", ecKey, with("sub", strings.Repeat("u", 257)))},
			"long":               {"Bearer " + strings.Repeat("a", 20<<10)},
		} {
			if got, err := user(authorization...); got != "" || !errors.Is(err, auth.ErrToken) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	})
}

func TestATokenThatIsConfiguredIsItsUsers(t *testing.T) {
	v := auth.New(auth.Config{Static: map[string]string{"test-token": "user1"}})
	for authorization, want := range map[string]string{"Bearer test-token": "user1", "Bearer test-toke": "", "Bearer test-token2": ""} {
		got, err := v.User(t.Context(), http.Header{"Authorization": {authorization}})
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s: %q, %v", authorization, got, err)
		}
	}
}

// The JWKS server is down at the start, comes, goes, changes its keys, and says rubbish.
func TestTheServerOfTheKeysMayBeDown(t *testing.T) {
	var asked atomic.Int32
	var now atomic.Pointer[func() (int, string)]
	says := func(status int, body string) { f := func() (int, string) { return status, body }; now.Store(&f) }
	says(0, "")
	run(t, auth.Config{}, func() (int, string) { asked.Add(1); return (*now.Load())() }, func(user func(...string) (string, error)) {
		long := with("exp", time.Now().Add(100*time.Hour).Unix())
		old, next := token(jwt.SigningMethodES256, "e", ecKey, long), token(jwt.SigningMethodEdDSA, "d", edKey, long)
		if _, err := user(old); !errors.Is(err, auth.ErrKeys) {
			t.Errorf("before the server was there: %v", err)
		}
		started := time.Now()
		if _, err := user(old); !errors.Is(err, auth.ErrKeys) || time.Since(started) > 0 {
			t.Errorf("while it is down: %v after %s", err, time.Since(started))
		}
		says(200, jwks(jwk("e", ecKey)))
		time.Sleep(time.Minute)
		if got, err := user(old); got != "user1" {
			t.Errorf("when it came: %q, %v", got, err)
		}
		for _, bad := range []func(){func() { says(0, "") }, func() { says(500, "") }, func() { says(200, "<html>") }, func() { says(200, jwks()) }, func() { says(200, jwks(`{"kty":"oct","k":"AAAA"}`)) }} {
			bad()
			time.Sleep(time.Hour)
			if got, err := user(old); got != "user1" {
				t.Errorf("when it had gone: %q, %v", got, err)
			}
		}
		// A new key is known when it is first used.
		says(200, jwks(jwk("e", ecKey), jwk("d", edKey)))
		time.Sleep(time.Minute)
		if got, err := user(next); got != "user1" {
			t.Errorf("signed by a new key: %q, %v", got, err)
		}
		// Forged ones make no traffic.
		time.Sleep(2 * time.Second)
		before := asked.Load()
		for i := range 100 {
			if _, err := user(token(jwt.SigningMethodEdDSA, fmt.Sprint("forged", i), edKey, long)); !errors.Is(err, auth.ErrToken) {
				t.Errorf("forged: %v", err)
			}
		}
		if n := asked.Load() - before; n > 1 {
			t.Errorf("100 forged tokens made %d requests", n)
		}
		// A key that is gone is not good any more.
		says(200, jwks(jwk("d", edKey)))
		time.Sleep(time.Hour)
		if got, err := user(old); !errors.Is(err, auth.ErrToken) {
			t.Errorf("signed by a key that is gone: %q, %v", got, err)
		}
	})
}
