package stack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Users issues tokens: JWTs (ES256) whose key the gateway fetches from JWKS.
type Users struct {
	JWKS string // URL

	key     *ecdsa.PrivateKey
	server  *http.Server
	serving sync.WaitGroup
}

func newUsers() (*Users, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := key.PublicKey.Bytes() // 4, x, y: 32 bytes each
	if err != nil {
		return nil, err
	}
	keys := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"load","x":%q,"y":%q}]}`,
		b64(public[1:33]), b64(public[33:]))
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u := &Users{key: key, JWKS: "http://" + l.Addr().String() + "/jwks.json"}
	u.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, keys)
		}),
	}
	u.serving.Go(func() { _ = u.server.Serve(l) }) // ends with Close
	return u, nil
}

func (u *Users) close() {
	_ = u.server.Close() // only closing the listener can fail
	u.serving.Wait()
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Token returns a token for a user that is valid for a day.
func (u *Users) Token(user string) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"sub": user, "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix()})
	if err != nil {
		return "", err
	}
	signed := b64([]byte(`{"alg":"ES256","typ":"JWT","kid":"load"}`)) + "." + b64(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, u.key, digest[:])
	if err != nil {
		return "", err
	}
	var both [64]byte
	r.FillBytes(both[:32])
	s.FillBytes(both[32:])
	return signed + "." + b64(both[:]), nil
}
