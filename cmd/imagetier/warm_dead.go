package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/novasocial/imagetier/internal/adminclient"
	"github.com/novasocial/imagetier/internal/program"
)

// runDead lists, retries or discards dead letters.
func (c *warmCmd) runDead(ctx context.Context, p *program.Process) error {
	ids, err := c.ids()
	if err != nil {
		return program.UsageError{Err: err}
	}
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	tier := c.tier(cfg)
	if c.Retry || c.Discard {
		return c.settle(ctx, p, tier, slices.Sorted(maps.Keys(ids)))
	}
	listed := 0
	err = tier.DeadLetters(ctx, func(letter adminclient.DeadLetter) error {
		if len(ids) > 0 && !ids[letter.ID] {
			return nil
		}
		listed++
		return c.printLetter(p, letter)
	})
	if err == nil && listed == 0 && !c.JSON {
		_, err = fmt.Fprintln(p.Stdout, "there are no dead letters")
	}
	return err
}

// ids returns the dead letters that are named, none for all.
func (c *warmCmd) ids() (map[uint64]bool, error) {
	if c.Retry && c.Discard {
		return nil, errors.New("give --retry or --discard, not both")
	}
	ids := make(map[uint64]bool)
	for _, text := range c.What {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil || id == 0 {
			return nil, fmt.Errorf("%s is not the number of a dead letter", printable(text))
		}
		ids[id] = true
	}
	return ids, nil
}

func (c *warmCmd) printLetter(p *program.Process, letter adminclient.DeadLetter) error {
	if c.JSON {
		return json.NewEncoder(p.Stdout).Encode(letter)
	}
	_, err := fmt.Fprintf(p.Stdout, "%d  %s  %d attempts  %s: %s\n", letter.ID, letter.Died.Local().Format("2006-01-02 15:04:05"),
		letter.Attempts, adminclient.OneLine([]byte(letter.What)), adminclient.OneLine([]byte(letter.Reason)))
	return err
}

func (c *warmCmd) settle(ctx context.Context, p *program.Process, tier adminclient.Client, ids []uint64) error {
	settle, done := tier.RetryDeadLetters, "queued again"
	if c.Discard {
		settle, done = tier.DiscardDeadLetters, "discarded"
	}
	n, err := settle(ctx, ids)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(p.Stdout).Encode(map[string]int{"settled": n})
	}
	_, err = fmt.Fprintf(p.Stdout, "%d dead letters %s\n", n, done)
	return err
}
