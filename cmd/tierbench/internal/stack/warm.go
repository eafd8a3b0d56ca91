package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Warm has the tier make every variant of every image, as it does when the feed service announces
// new posts. It returns when all are made.
func (s *Stack) Warm(ctx context.Context) error {
	return errors.Join(s.warm(ctx, "feed", s.posts), s.warm(ctx, "avatar", s.avatars))
}

func (s *Stack) warm(ctx context.Context, profile string, names []string) error {
	type image struct {
		URL string `json:"url"`
	}
	var images []image
	for _, name := range names {
		images = append(images, image{Prefix + name})
	}
	body, err := json.Marshal(map[string]any{"profile": profile, "images": images, "wait": true})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.TierPrivate+"/v1/warm", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.secrets.admin)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("warm %s: %s", profile, resp.Status)
	}
	return readWarmed(bufio.NewScanner(resp.Body), len(names))
}

// readWarmed reads a line for each variant. Fewer than least are an error.
func readWarmed(lines *bufio.Scanner, least int) error {
	made := 0
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue // a keep-alive line
		}
		var line struct{ Path, Outcome string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("warm: %w", err)
		}
		if line.Outcome != "made" && line.Outcome != "hit" {
			return fmt.Errorf("warm: %s", lines.Bytes())
		}
		made++
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("warm: %w", err)
	}
	if made < least {
		return fmt.Errorf("warm: %d variants of %d images", made, least)
	}
	return nil
}
