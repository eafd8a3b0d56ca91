package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// Every URL of an answer is a hit, and posts have the facts about their images.
func TestServe_Tier(t *testing.T) {
	dir, names := photos(t)
	tier := start(t, "imagetier", "serve", "--keys="+key, "--source=posts=dir://"+dir, "--cache-dir="+t.TempDir(),
		"--webhook-secrets="+hookSecret, "--admin-token="+adminToken,
		"--image-prefix=https://cdn.app.example/=posts")
	services := fakes(t, fakeservices.Config{Data: fakeservices.Data{Images: names}})
	gateway := start(t, "imagetier-gateway", serveArgs(services, "--image-base="+tier.public,
		"--tier="+tier.private, "--webhook-secret="+hookSecret, "--admin-token="+adminToken)...)
	var minted []string
	for _, client := range []string{"jpg@1x", "webp@2x", "webp@3x"} {
		a := ask(t, gateway, k6Query, nil, "X-Image-Client: "+client)
		for _, p := range a.Data.Feed.Posts {
			for _, url := range []string{*p.ImageURL, *p.ThumbnailURL, p.Author.AvatarURL} {
				if url != "" && !slices.Contains(minted, url) {
					minted = append(minted, url)
				}
			}
		}
	}
	// Each name has an image and an avatar, and one post has a crop.
	if want := (len(names)*2 + 1) * 3; len(minted) != want {
		t.Errorf("%d URLs were minted, not %d", len(minted), want)
	}
	cropped := slices.DeleteFunc(slices.Clone(minted), func(url string) bool { return !strings.Contains(url, "-crop") })
	if len(cropped) != 3 {
		t.Errorf("URLs with a crop: %q, want one for each client", cropped)
	}
	for _, url := range minted {
		until(t, url+" is held", func() bool {
			_, _, body := get(t, tier.private+"/v1/explain?url="+neturl.QueryEscape(url))
			return strings.Contains(body, `"where": "memory"`) || strings.Contains(body, `"where": "disk"`)
		})
	}
	for _, url := range minted {
		if status, header, _ := get(t, url); status != http.StatusOK ||
			!strings.Contains(header.Get("Cache-Status"), "; hit") {
			t.Errorf("%s: %d, %s", url, status, header.Get("Cache-Status"))
		}
	}
	const factsQuery = `{ feed { posts { id placeholder width height color } } }`
	until(t, "posts have placeholders", func() bool {
		a := ask(t, gateway, factsQuery, nil)
		return !slices.ContainsFunc(a.Data.Feed.Posts, func(p answeredPost) bool {
			if p.Placeholder == nil {
				return true
			}
			hash, err := base64.StdEncoding.DecodeString(*p.Placeholder)
			return err != nil || len(hash) < 5 || p.Width <= 0 || p.Height <= 0
		})
	})
}

// Placeholders: a tier that hangs does not delay pages.
func TestServe_HangingTier(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int32
	tier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Images []json.RawMessage }
		if json.NewDecoder(r.Body).Decode(&q) == nil && r.URL.Path == "/v1/info" {
			asked.Add(1)
			<-release
			facts := strings.Repeat(`,{"width":4,"height":3,"thumbhash":"AAAAAAAA","color":"#000000"}`, len(q.Images))
			fmt.Fprintf(w, `{"infos":[%s]}`, facts[1:])
		}
	}))
	defer tier.Close()
	gateway := serve(t, fakes(t, fakeservices.Config{}), "--tier="+tier.URL, "--admin-token="+adminToken)
	const factsQuery = `{ feed { posts { id placeholder width height } } }`
	started := time.Now()
	a := ask(t, gateway, factsQuery, nil)
	// On a busy machine only this is certain: the page does not wait for the hanging tier.
	if len(a.Data.Feed.Posts) != 20 || a.Data.Feed.Posts[0].Placeholder != nil ||
		time.Since(started) > 5*time.Second || asked.Load() != 1 {
		t.Errorf("after %s and %d questions: %.300s", time.Since(started), asked.Load(), a.body)
	}
	close(release) // later facts are used for the next page
	until(t, "placeholders are there", func() bool {
		a := ask(t, gateway, factsQuery, nil)
		return a.Data.Feed.Posts[19].Placeholder != nil && a.Data.Feed.Posts[19].Width == 4
	})
	if asked.Load() != 1 {
		t.Errorf("the tier was asked %d times", asked.Load())
	}
}

// Likes reach the service once, and the next page shows them.
func TestServe_Likes(t *testing.T) {
	gateway := serve(t, fakes(t, fakeservices.Config{}), "--dev", "--test-token=test-token=user1")
	const token = "Authorization: Bearer test-token"
	first := ask(t, gateway, k6Query, nil, token).Data.Feed.Posts
	ids := []string{first[0].ID, first[1].ID, first[0].ID}
	for _, c := range []struct {
		mutation string
		more     int64
	}{{"batchLike", 1}, {"batchLike", 1}, {"batchUnlike", 0}} {
		mutation := `mutation($ids:[String!]!){` + c.mutation + `(postIds:$ids){success}}`
		a := ask(t, gateway, mutation, map[string]any{"ids": ids}, token)
		if !strings.Contains(a.body, `{"success":true}`) {
			t.Errorf("%s: %s", c.mutation, a.body)
		}
		now := ask(t, gateway, k6Query, nil, token).Data.Feed.Posts
		if now[0].LikeCount != first[0].LikeCount+c.more || now[1].LikeCount != first[1].LikeCount+c.more ||
			now[2].LikeCount != first[2].LikeCount {
			t.Errorf("%s: %d likes, it had %d", c.mutation, now[0].LikeCount, first[0].LikeCount)
		}
	}
}

// An event drops the changed entries and no others.
func TestServe_Events(t *testing.T) {
	services := fakes(t, fakeservices.Config{})
	gateway := serve(t, services, "--webhook-secrets="+hookSecret)
	posts := ask(t, gateway, k6Query, nil).Data.Feed.Posts
	calls := func() string {
		services.Reset()
		ask(t, gateway, k6Query, nil)
		n := services.Counts()
		return fmt.Sprint(n[fakeservices.Content].Calls, n[fakeservices.User].Calls)
	}
	until(t, "the page is kept", func() bool { return calls() == "0 0" })
	for i, e := range []struct{ body, want string }{
		{fmt.Sprintf(`{"type":"post.deleted","data":{"posts":[{"id":%q},{"id":%q}]}}`, posts[1].ID, posts[2].ID),
			"1 0"},
		{fmt.Sprintf(`{"type":"user.updated","data":{"user":{"id":%q}}}`, posts[0].Author.ID), "0 1"},
		{`{"type":"post.deleted","data":{"posts":[{"id":"none"}]}}`, "0 0"},
	} {
		if status, body := event(t, gateway, fmt.Sprint("msg_", i), e.body, hookSecret); status != http.StatusAccepted {
			t.Errorf("%s: %d %s", e.body, status, body)
		}
		if got := calls(); got != e.want {
			t.Errorf("%s: content and user service were called %s times, not %s", e.body, got, e.want)
		}
		if got := calls(); got != "0 0" {
			t.Errorf("%s: the page after the next: %s calls", e.body, got)
		}
	}
	// An updated post is fetched once, by the page or by the event.
	services.Reset()
	updated := fmt.Sprintf(`{"type":"post.updated","data":{"posts":[{"id":%q}]}}`, posts[0].ID)
	event(t, gateway, "msg_updated", updated, hookSecret)
	until(t, "the post was asked for again", func() bool { return services.Counts()[fakeservices.Content].Calls > 0 })
	deleted := `{"type":"post.deleted","data":{"posts":[{"id":"p"}]}}`
	forged := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 24))
	if status, body := event(t, gateway, "msg_x", deleted, forged); status != http.StatusUnauthorized {
		t.Errorf("forged: %d %s", status, body)
	}
}

// event sends an event, signed by a secret.
func event(t *testing.T, p *program, id, body, secret string) (int, string) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, raw)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	status, _, answer := post(t, p.private+"/v1/events", []byte(body), "Content-Type: application/json",
		"webhook-id: "+id, "webhook-timestamp: "+stamp,
		"webhook-signature: v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return status, answer
}

// Auth: a JWT by a JWKS that is down at first.
func TestServe_JWT(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	var up atomic.Bool
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"a","use":"sig","alg":"ES256","x":%q,"y":%q}]}`,
			b64(point[1:33]), b64(point[33:]))
	}))
	defer jwks.Close()
	sign := func(claims string) string {
		signed := b64([]byte(`{"alg":"ES256","kid":"a","typ":"JWT"}`)) + "." + b64([]byte(claims))
		sum := sha256.Sum256([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		side := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
		return "Authorization: Bearer " + signed + "." + b64(append(side(r), side(s)...))
	}
	asked := make(chan string, 100)
	services := fakes(t, fakeservices.Config{OnCall: func(method string, request any) {
		if strings.HasSuffix(method, "/GetFeed") {
			asked <- fmt.Sprint(request)
		}
	}})
	gateway := serve(t, services, "--jwks="+jwks.URL, "--jwt-audience=feed")
	good := sign(fmt.Sprintf(`{"sub":"user-7","aud":"feed","exp":%d}`, time.Now().Add(time.Hour).Unix()))
	if a := ask(t, gateway, k6Query, nil, good); a.status != http.StatusServiceUnavailable ||
		a.codes() != "AUTH_UNAVAILABLE" {
		t.Errorf("without keys: %d %s", a.status, a.body)
	}
	if a := ask(t, gateway, k6Query, nil); a.status != http.StatusOK || !strings.Contains(<-asked, "anonymous") {
		t.Errorf("anonymous, without keys: %d %s", a.status, a.body)
	}
	up.Store(true)
	until(t, "the token is good", func() bool { return ask(t, gateway, k6Query, nil, good).status == http.StatusOK })
	if got := <-asked; !strings.Contains(got, "user-7") {
		t.Errorf("the feed service was asked %s", got)
	}
	for name, token := range map[string]string{
		"expired":  sign(fmt.Sprintf(`{"sub":"user-7","aud":"feed","exp":%d}`, time.Now().Add(-time.Hour).Unix())),
		"audience": sign(fmt.Sprintf(`{"sub":"user-7","aud":"ads","exp":%d}`, time.Now().Add(time.Hour).Unix())),
		"changed":  good[:len(good)-8] + "AAAAAAAA",
	} {
		if a := ask(t, gateway, k6Query, nil, token); a.status != http.StatusUnauthorized ||
			a.codes() != "UNAUTHENTICATED" || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}
