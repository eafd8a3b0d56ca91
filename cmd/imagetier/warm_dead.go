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

// deadLetters lists, retries or discards jobs of the warming queue that failed for good.
type deadLetters struct {
	numbers              []string // all if empty
	retry, discard, json bool
	client               func() (adminclient.Client, error)
}

func (d deadLetters) run(ctx context.Context, p *program.Process) error {
	ids, err := d.ids()
	if err != nil {
		return program.UsageError{Err: err}
	}
	tier, err := d.client()
	if err != nil {
		return err
	}
	if d.retry || d.discard {
		return d.settle(ctx, p, tier, slices.Sorted(maps.Keys(ids)))
	}
	listed := 0
	err = tier.DeadLetters(ctx, func(letter adminclient.DeadLetter) error {
		if len(ids) > 0 && !ids[letter.ID] {
			return nil
		}
		listed++
		return d.print(p, letter)
	})
	if err == nil && listed == 0 && !d.json {
		_, err = fmt.Fprintln(p.Stdout, "there are no dead letters")
	}
	return err
}

func (d deadLetters) ids() (map[uint64]bool, error) {
	if d.retry && d.discard {
		return nil, errors.New("give --retry or --discard, not both")
	}
	ids := make(map[uint64]bool)
	for _, text := range d.numbers {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil || id == 0 {
			return nil, fmt.Errorf("%s is not the number of a dead letter", printable(text))
		}
		ids[id] = true
	}
	return ids, nil
}

func (d deadLetters) print(p *program.Process, letter adminclient.DeadLetter) error {
	if d.json {
		return json.NewEncoder(p.Stdout).Encode(letter)
	}
	_, err := fmt.Fprintf(
		p.Stdout,
		"%d  %s  %d attempts  %s: %s\n",
		letter.ID,
		letter.Died.Local().Format("2006-01-02 15:04:05"),
		letter.Attempts,
		adminclient.OneLine([]byte(letter.What)),
		adminclient.OneLine([]byte(letter.Reason)),
	)
	return err
}

func (d deadLetters) settle(ctx context.Context, p *program.Process, tier adminclient.Client, ids []uint64) error {
	settle, done := tier.RetryDeadLetters, "queued again"
	if d.discard {
		settle, done = tier.DiscardDeadLetters, "discarded"
	}
	n, err := settle(ctx, ids)
	if err != nil {
		return err
	}
	if d.json {
		return json.NewEncoder(p.Stdout).Encode(map[string]int{"settled": n})
	}
	_, err = fmt.Fprintf(p.Stdout, "%d dead letters %s\n", n, done)
	return err
}
