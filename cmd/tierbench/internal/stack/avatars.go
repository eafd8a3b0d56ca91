package stack

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// avatarsMade is the number of avatars. Their shape is that of an uploaded avatar, larger than any
// that an app shows.
const (
	avatarsMade = 20
	avatarShape = "640x640-cover"
)

// makeAvatars has the tier make squares of the images of posts and stores them beside these, under
// other names, so that they are not in the tier's cache yet.
func makeAvatars(ctx context.Context, tier, key string, posts []string, dir string) (made []string, err error) {
	raw, err := hex.DecodeString(key)
	if err != nil {
		return nil, err
	}
	signer, err := imageurl.NewSigner(imageurl.Key{ID: "k1", Secret: raw})
	if err != nil {
		return nil, err
	}
	for i := range avatarsMade {
		ref, err := imageurl.ParseRef("/" + avatarShape + "/v.avatar/" + source + "/" + posts[i%len(posts)] + ".jpg")
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, tier+signer.Path(ref), nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("avatar: %s: %.200s", resp.Status, body)
		}
		name := fmt.Sprintf("u%02d.jpg", i)
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return nil, err
		}
		made = append(made, name)
	}
	return made, nil
}
