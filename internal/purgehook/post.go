package purgehook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// idOf makes a webhook-id of the ids of orders: the same orders that are told again have the
// same, so that an adapter can leave them out.
func idOf(orders []string) string {
	sum := sha256.Sum256([]byte(strings.Join(orders, " ")))
	return "purge_" + hex.EncodeToString(sum[:12])
}

// post posts once. Anything but a 2xx is an error; after is how long whoever answered wants to
// be left alone.
func (s *Sender) post(ctx context.Context, id string, body []byte) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "imagetier")
	s.signer.Sign(req.Header, id, s.cfg.Now(), body)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return 0, nil
	}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		after = time.Duration(seconds) * time.Second
	}
	return after, fmt.Errorf("the adapter answers %s", resp.Status)
}
