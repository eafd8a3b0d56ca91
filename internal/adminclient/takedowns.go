package adminclient

import (
	"context"
	"net/http"
	"time"
)

// Takedown is an original that is taken down.
type Takedown struct {
	Source string    `json:"source"`
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
}

// Takedowns calls each with every takedown, sorted by source and name.
func (c Client) Takedowns(ctx context.Context, each func(Takedown) error) error {
	for query := ""; ; {
		var page struct {
			Takedowns []Takedown
			Next      string // the query of the next page; "" on the last
		}
		if _, err := c.call(ctx, http.MethodGet, "/v1/takedown?"+query, nil, &page); err != nil {
			return err
		}
		for _, t := range page.Takedowns {
			if err := each(t); err != nil {
				return err
			}
		}
		if query = page.Next; query == "" {
			return nil
		}
	}
}
