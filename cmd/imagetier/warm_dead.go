package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/program"
)

// deadLetter is one as GET /v1/warm/dead shows it.
type deadLetter struct {
	ID       uint64          `json:"id"`
	Died     time.Time       `json:"died"`
	Queued   time.Time       `json:"queued"`
	Attempts int             `json:"attempts"`
	Reason   string          `json:"reason"`
	What     string          `json:"what"`
	Job      json.RawMessage `json:"job,omitempty"`
}

// dead lists the dead letters, or queues them again, or forgets them.
func (c *warmCmd) dead(ctx context.Context, p *program.Process) error {
	ids, err := c.ids()
	if err != nil {
		return program.UsageError{Err: err}
	}
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	if c.Retry || c.Discard {
		return c.settle(ctx, p, cfg, ids)
	}
	listed := 0
	for from := uint64(0); ; {
		letters, next, err := c.letters(ctx, cfg, from)
		if err != nil {
			return err
		}
		for _, letter := range letters {
			if len(ids) > 0 && !ids[letter.ID] {
				continue
			}
			listed++
			if err := c.printLetter(p, letter); err != nil {
				return err
			}
		}
		if next == 0 {
			break
		}
		from = next
	}
	if listed == 0 && !c.JSON {
		_, err = fmt.Fprintln(p.Stdout, "there are no dead letters")
	}
	return err
}

func (c *warmCmd) ids() (map[uint64]bool, error) {
	if c.Retry && c.Discard {
		return nil, errors.New("--retry or --discard, not both")
	}
	ids := make(map[uint64]bool)
	for _, text := range c.What {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil || id == 0 {
			return nil, fmt.Errorf("%s is no number of a dead letter", printable(text))
		}
		ids[id] = true
	}
	return ids, nil
}

// letters returns some dead letters from that number on, and where the next begin; 0: there
// are no more.
func (c *warmCmd) letters(ctx context.Context, cfg config.Config, from uint64) ([]deadLetter, uint64, error) {
	status, body, err := c.tier(cfg).Get(ctx, "/v1/warm/dead?from="+strconv.FormatUint(from, 10))
	if err != nil {
		return nil, 0, unreached(err)
	}
	if status != http.StatusOK {
		return nil, 0, refusalOf(status, body)
	}
	var said struct {
		Dead []deadLetter
		Next uint64
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, 0, fmt.Errorf("read the dead letters: %w", err)
	}
	return said.Dead, said.Next, nil
}

func (c *warmCmd) tier(cfg config.Config) adminclient.Client {
	return adminclient.Client{Listen: cfg.PrivateListen, Token: cfg.AdminToken, Timeout: c.Timeout}
}

func (c *warmCmd) printLetter(p *program.Process, letter deadLetter) error {
	if c.JSON {
		return json.NewEncoder(p.Stdout).Encode(letter)
	}
	_, err := fmt.Fprintf(p.Stdout, "%d  %s  %d attempts  %s: %s\n", letter.ID, letter.Died.Local().Format("2006-01-02 15:04:05"),
		letter.Attempts, adminclient.OneLine([]byte(letter.What)), adminclient.OneLine([]byte(letter.Reason)))
	return err
}

// settle queues dead letters again, or forgets them: those that are named, or all.
func (c *warmCmd) settle(ctx context.Context, p *program.Process, cfg config.Config, ids map[uint64]bool) error {
	what := struct {
		Do  string   `json:"do"`
		IDs []uint64 `json:"ids,omitempty"`
	}{Do: "retry"}
	if c.Discard {
		what.Do = "discard"
	}
	for id := range ids {
		what.IDs = append(what.IDs, id)
	}
	status, body, err := c.tier(cfg).Send(ctx, http.MethodPost, "/v1/warm/dead", what)
	if err != nil {
		return unreached(err)
	}
	if status != http.StatusOK {
		return refusalOf(status, body)
	}
	if c.JSON {
		_, err = fmt.Fprintf(p.Stdout, "%s\n", adminclient.OneLine(body))
		return err
	}
	var said struct{ Settled int }
	if err := json.Unmarshal(body, &said); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	done := "queued again"
	if c.Discard {
		done = "forgotten"
	}
	_, err = fmt.Fprintf(p.Stdout, "%d dead letters %s\n", said.Settled, done)
	return err
}

func unreached(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return fmt.Errorf("the tier does not answer: %w", err)
}
