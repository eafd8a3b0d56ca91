package adminclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Explanation is the tier's explanation of a URL.
type Explanation struct {
	Path      string
	Signature struct{ Detail string }
	Error     string // why it is not an image URL
	Ref       *struct {
		Source, Name, Version, Shape, Format string
	}
	Status     int    // of the answer that it would get
	Why        string // of Status
	Variants   []ExplainedVariant
	LastOrigin *struct {
		At     time.Time
		Status int
		Error  string
	} `json:"last_origin"`

	JSON json.RawMessage `json:"-"` // the answer
}

// ExplainedVariant is a variant that the URL can be answered with.
type ExplainedVariant struct {
	Class string // of Accept, for URLs with the format auto
	Held  []HeldCopy
}

// HeldCopy is a copy of a variant in one tier.
type HeldCopy struct {
	Where       string
	Error       string
	Bytes       int64
	ContentType string `json:"content_type"`
	ETag        string
	Freshness   string
	SoftPurged  bool   `json:"soft_purged"`
	TTL         int64  `json:"ttl_seconds"`
	Age         *int64 `json:"age_seconds"`
}

// Explain asks the tier to explain a URL.
func (c Client) Explain(ctx context.Context, text string) (e Explanation, err error) {
	e.JSON, err = c.call(ctx, http.MethodGet, "/v1/explain?"+url.Values{"url": {text}}.Encode(), nil, &e)
	return e, err
}
