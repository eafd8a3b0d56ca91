package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/jetstream"
)

// payload is the JSON of a hook.
type payload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Soft      bool           `json:"soft,omitempty"`
		Originals []hookOriginal `json:"originals"`
	} `json:"data"`
}

type hookOriginal struct {
	Source string `json:"source"`
	Name   string `json:"name"` // invalid UTF-8 is replaced; Tag is exact
	Tag    string `json:"tag"`
	Path   string `json:"path,omitempty"`
}

func hookType(e Entry) string {
	switch e.Kind {
	case KindTakedown:
		return "image.taken_down"
	case KindLift:
		return "image.lifted"
	}
	return "image.purged"
}

// compose makes a payload of the first n entries: those of one type, each original once. Zero
// entries after the first are skipped. The id is derived from the ids of the entries, so that an
// adapter recognizes repetitions.
func compose(entries []Entry, batch []jetstream.Entry) (n int, body []byte, id string) {
	var p payload
	var ids []string
	seen := make(map[hookOriginal]bool)
	for i, e := range entries {
		if e.ID == "" {
			n = i + 1
			continue
		}
		kind, soft := hookType(e), e.Kind == KindSoft
		if len(ids) > 0 && (kind != p.Type || soft != p.Data.Soft) {
			break
		}
		p.Type, p.Data.Soft = kind, soft
		of := e.original()
		one := hookOriginal{Source: of.Source, Name: of.Name, Tag: of.CDNTag(), Path: e.Path}
		if !seen[one] {
			p.Data.Originals = append(p.Data.Originals, one)
			seen[one] = true
		}
		if at := batch[i].At.UTC(); at.After(p.Timestamp) {
			p.Timestamp = at
		}
		ids = append(ids, e.ID)
		n = i + 1
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, a time and a flag
	}
	sum := sha256.Sum256([]byte(strings.Join(ids, " ")))
	return n, body, "purge_" + hex.EncodeToString(sum[:12])
}

// post sends a payload once. A status other than 2xx is an error; after is the receiver's
// Retry-After.
func (h *Hook) post(ctx context.Context, id string, body []byte) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "imagetier")
	h.signer.Sign(req.Header, id, h.cfg.Now(), body)
	resp, err := h.client.Do(req)
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
