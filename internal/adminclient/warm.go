package adminclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// WarmRequest names images to make: by the paths of their variants, or by the profile
// whose Specs are made of each image.
type WarmRequest struct {
	Paths   []string          `json:"paths,omitempty"`
	Profile string            `json:"profile,omitempty"`
	Images  []json.RawMessage `json:"images,omitempty"`
}

// WarmResult is the result for one variant.
type WarmResult struct {
	Path    string
	Outcome string // hit, made or failed
	Error   struct {
		Status int
		Title  string
	}

	JSON json.RawMessage `json:"-"` // this line of the answer; valid until the callback returns
}

// warmTries is how often Warm asks a tier that is too busy.
const warmTries = 6

// Warm makes images and calls each with every result, as it comes. It waits and asks
// again while the tier is too busy.
func (c Client) Warm(ctx context.Context, req WarmRequest, each func(WarmResult) error) error {
	for try := 1; ; try++ {
		err := c.warm(ctx, req, each)
		var refused *Error
		if try == warmTries || !errors.As(err, &refused) || refused.retryAfter == 0 {
			return err
		}
		select {
		case <-time.After(refused.retryAfter):
		case <-ctx.Done():
			return err
		}
	}
}

func (c Client) warm(ctx context.Context, req WarmRequest, each func(WarmResult) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := func() {} // to call while the tier answers
	if c.Timeout > 0 {
		silence := time.AfterFunc(c.Timeout, func() { cancel(fmt.Errorf("no answer for %s", c.Timeout)) })
		defer silence.Stop()
		alive = func() { silence.Reset(c.Timeout) }
	}
	resp, err := c.send(ctx, http.MethodPost, "/v1/warm", struct {
		WarmRequest
		Wait bool `json:"wait"`
	}{req, true})
	if err != nil {
		return noAnswer(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := readAll(resp)
		if err != nil {
			return noAnswer(ctx, err)
		}
		return refusal(resp, body)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		alive()
		if len(bytes.TrimSpace(lines.Bytes())) == 0 { // sent to show that the tier is alive
			continue
		}
		result := WarmResult{JSON: lines.Bytes()}
		if err := json.Unmarshal(lines.Bytes(), &result); err != nil {
			return fmt.Errorf("read the answer %q: %w", OneLine(lines.Bytes()), err)
		}
		if err := each(result); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil { // the tier may have stopped in the middle
		return noAnswer(ctx, err)
	}
	return nil
}

// DeadLetter is a job of the warming queue that failed for good.
type DeadLetter struct {
	ID       uint64          `json:"id"`
	Died     time.Time       `json:"died"`
	Queued   time.Time       `json:"queued"`
	Attempts int             `json:"attempts"`
	Reason   string          `json:"reason"`
	What     string          `json:"what"`
	Job      json.RawMessage `json:"job,omitempty"`
}

// DeadLetters calls each with every dead letter.
func (c Client) DeadLetters(ctx context.Context, each func(DeadLetter) error) error {
	for from := uint64(0); ; {
		var page struct {
			Dead []DeadLetter
			Next uint64 // 0 on the last page
		}
		target := "/v1/warm/dead?from=" + strconv.FormatUint(from, 10)
		if _, err := c.call(ctx, http.MethodGet, target, nil, &page); err != nil {
			return err
		}
		for _, letter := range page.Dead {
			if err := each(letter); err != nil {
				return err
			}
		}
		if from = page.Next; from == 0 {
			return nil
		}
	}
}

// RetryDeadLetters queues the dead letters with these ids, or all of them if ids is empty, again,
// and returns how many.
func (c Client) RetryDeadLetters(ctx context.Context, ids []uint64) (n int, err error) {
	return c.settle(ctx, "retry", ids)
}

// DiscardDeadLetters deletes the dead letters with these ids, or all of them if ids is empty, and
// returns how many.
func (c Client) DiscardDeadLetters(ctx context.Context, ids []uint64) (n int, err error) {
	return c.settle(ctx, "discard", ids)
}

func (c Client) settle(ctx context.Context, do string, ids []uint64) (int, error) {
	var answer struct{ Settled int }
	_, err := c.call(ctx, http.MethodPost, "/v1/warm/dead", struct {
		Do  string   `json:"do"`
		IDs []uint64 `json:"ids,omitempty"`
	}{do, ids}, &answer)
	return answer.Settled, err
}
