package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/resize"
)

// purgeRequest names what to remove: source and name, or path, or tag.
type purgeRequest struct {
	Source string `json:"source"`
	Name   string `json:"name"` // decoded
	Path   string `json:"path"`
	Tag    string `json:"tag"`
	Soft   bool   `json:"soft"`
	DryRun bool   `json:"dry_run"` // of a purge: only say what it would remove
}

// receiptOf returns the JSON of a receipt.
func receiptOf(total imagecache.Receipt) httpapi.Receipt {
	if total.Known == 0 { // no fleet
		total.Applied, total.Known = 1, 1
	}
	return httpapi.Receipt{
		Variants: total.Variants, Originals: total.Originals, Bytes: total.Bytes,
		Nodes:      httpapi.Nodes{Applied: total.Applied, Known: total.Known},
		Superseded: total.Superseded, Waiting: total.Waiting,
	}
}

// writeReceipt answers 200, or 202 while some node has not applied the change, or not answered a
// dry run.
func writeReceipt(w http.ResponseWriter, r *http.Request, receipt httpapi.Receipt) error {
	status := http.StatusOK
	if receipt.Nodes.Applied < receipt.Nodes.Known {
		status = http.StatusAccepted
	}
	return writeJSON(w, r, status, receipt)
}

// Bounds of a change of all originals of a tag.
const (
	changeTime     = 40 * time.Second
	changesAtOnce  = 64   // each waits up to 5 s for the nodes of a fleet
	changeListSize = 1000 // takedowns on one page
)

// change applies a change to all targets, several at once and under one deadline, and
// merges the receipts. It tries every target even if some fail. The error is then of kind, with the
// number of failures, and wraps the first cause for the log. A failed change may be in the outbox,
// which is sent when the cluster can be reached.
func change(ctx context.Context, kind error, targets []imagecache.Target,
	apply func(context.Context, imagecache.Target) (imagecache.Receipt, error),
) (total imagecache.Receipt, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	var (
		group  errgroup.Group
		mu     sync.Mutex // guards the fields below
		failed int
		cause  error
	)
	group.SetLimit(changesAtOnce)
	for _, target := range targets {
		group.Go(func() error {
			one, err := imagecache.Receipt{}, ctx.Err()
			if err == nil {
				one, err = apply(ctx, target)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed++
				if cause == nil {
					cause = err
				}
				return nil
			}
			total.Merge(one)
			return nil
		})
	}
	_ = group.Wait() // errors are counted
	switch {
	case failed == 0:
		return total, nil
	case len(targets) == 1:
		return total, fmt.Errorf("%w: %w", kind, cause)
	}
	return total, fmt.Errorf(
		"%w: %w",
		problem.Errorf(kind, "%d of %d failed, but may still take effect later. Repeat the request.",
			failed, len(targets)),
		cause,
	)
}

// purge removes what the request names: it is not served from then on or, if the purge is soft, is
// served as stale until its replacement is made. A dry run removes nothing and says what it would remove.
func (p *api) purge(w http.ResponseWriter, r *http.Request) error {
	var req purgeRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	targets, err := p.targets(r.Context(), req)
	if err != nil {
		return err
	}
	apply := p.Operator.Purge
	switch {
	case req.DryRun:
		apply = p.Operator.Count
	case req.Soft:
		apply = p.Operator.SoftPurge
	}
	total, err := change(r.Context(), problem.ErrPurge, targets, apply)
	if err != nil {
		return err
	}
	if req.DryRun {
		receipt := receiptOf(total)
		receipt.DryRun = true
		return writeReceipt(w, r, receipt)
	}
	kind := "purge"
	if req.Soft {
		kind = "soft_purge"
	}
	p.record(r, kind, req, len(targets), total)
	return writeReceipt(w, r, receiptOf(total))
}

// changeLogs are the messages of the log by kind of change.
var changeLogs = map[string]string{
	"purge": "purged", "soft_purge": "purged", "takedown": "taken down", "lift": "takedown lifted",
}

// record logs a change and keeps it for /v1/stats.
func (p *api) record(r *http.Request, kind string, req purgeRequest, targets int, total imagecache.Receipt) {
	p.Changes.Add(httpapi.Change{
		At: p.Now().UTC(), Kind: kind, Source: req.Source, Name: req.Name, Path: req.Path, Tag: req.Tag,
		Targets: targets, Receipt: receiptOf(total),
	})
	p.Log.Info(changeLogs[kind],
		"source", req.Source, "name", req.Name, "path", req.Path, "tag", req.Tag, "soft", req.Soft,
		"remote", r.RemoteAddr, "targets", targets,
		"variants", total.Variants, "originals", total.Originals, "bytes", total.Bytes)
}

// takedown removes an original and its variants. Requests for them are answered 451 until the
// takedown is lifted.
func (p *api) takedown(w http.ResponseWriter, r *http.Request) error {
	req, targets, err := p.readOriginals(w, r)
	if err != nil {
		return err
	}
	total, err := change(r.Context(), problem.ErrTakedown, targets,
		func(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
			return p.Operator.Takedown(ctx, target.Original)
		})
	if err != nil {
		return err
	}
	p.record(r, "takedown", req, len(targets), total)
	return writeReceipt(w, r, receiptOf(total))
}

// lift ends a takedown.
func (p *api) lift(w http.ResponseWriter, r *http.Request) error {
	req, targets, err := p.readOriginals(w, r)
	if err != nil {
		return err
	}
	var lifted atomic.Int64
	total, err := change(r.Context(), problem.ErrLift, targets,
		func(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
			receipt, was, err := p.Operator.Lift(ctx, target.Original)
			if was {
				lifted.Add(1)
			}
			return receipt, err
		})
	switch {
	case err != nil:
		return err
	case lifted.Load() == 0:
		return problem.ErrNotDown
	}
	p.record(r, "lift", req, int(lifted.Load()), total)
	return writeReceipt(w, r, receiptOf(total))
}

// takedowns answers GET /v1/takedown?source=&name=: takedowns and their times, sorted by source and
// name, beginning after that original. next is the query of the next page, absent on the last.
func (p *api) takedowns(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	page := p.Operator.Takedowns(
		imagecache.Original{Source: query.Get("source"), Name: query.Get("name")},
		changeListSize,
	)
	type item struct {
		Source string    `json:"source"`
		Name   string    `json:"name"`
		Since  time.Time `json:"since"`
	}
	answer := struct {
		Takedowns []item `json:"takedowns"`
		Next      string `json:"next,omitempty"`
	}{Takedowns: []item{}}
	for _, t := range page {
		answer.Takedowns = append(answer.Takedowns, item{t.Original.Source, t.Original.Name, t.Since.UTC()})
	}
	if len(page) == changeListSize {
		last := page[len(page)-1].Original
		answer.Next = url.Values{"source": {last.Source}, "name": {last.Name}}.Encode()
	}
	return writeJSON(w, r, http.StatusOK, answer)
}

// readOriginals reads the originals of a takedown. A tag without originals is 404, so that the
// response is not mistaken for a takedown that happened.
func (p *api) readOriginals(
	w http.ResponseWriter,
	r *http.Request,
) (req purgeRequest, targets []imagecache.Target, err error) {
	if err := readJSON(w, r, &req); err != nil {
		return req, nil, err
	}
	if req.Path != "" || req.Soft || req.DryRun {
		return req, nil, problem.Errorf(
			problem.ErrRequest,
			`A takedown needs {"source","name"} or {"tag"}.`,
		)
	}
	if targets, err = p.targets(r.Context(), req); err == nil && len(targets) == 0 {
		err = problem.ErrTag
	}
	return req, targets, err
}

// targets checks req and returns what to remove.
func (p *api) targets(ctx context.Context, req purgeRequest) ([]imagecache.Target, error) {
	ways := 0
	for _, given := range []bool{req.Source != "" || req.Name != "", req.Path != "", req.Tag != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return nil, problem.Errorf(problem.ErrRequest, `One of {"source","name"}, {"path"} and {"tag"} is needed.`)
	case req.Tag != "":
		if !req.DryRun {
			p.Operator.PurgesTag()
		}
		return p.targetsOfTag(ctx, req.Tag)
	case req.Path != "":
		return p.targetsOfPath(req.Path)
	case req.Source == "" || req.Name == "":
		return nil, problem.Errorf(problem.ErrRequest, "Both source and name are needed.")
	case len(req.Name) > imageurl.MaxName:
		return nil, problem.Errorf(problem.ErrRequest, "The name has %d bytes, not 1-%d.",
			len(req.Name), imageurl.MaxName)
	}
	return p.whole(req.Source, req.Name)
}

// targetsOfPath returns the targets of a path, whose signature is not checked. For auto these are
// the variants of all classes of clients. For a live path, and for an original, it is the original
// with all its variants: they would otherwise be made again from the cached original.
func (p *api) targetsOfPath(path string) ([]imagecache.Target, error) {
	_, ref, err := p.readPath(path)
	if err != nil {
		return nil, problem.Errorf(problem.ErrRequest, "%v", err)
	}
	if ref.Version().Pin() == imageurl.Live || ref.Spec().Shape == resize.ShapeOriginal {
		return p.whole(ref.Source(), ref.Name())
	}
	if err := p.checkSource(ref.Source()); err != nil {
		return nil, err
	}
	var targets []imagecache.Target
	for _, ref := range classesOf(ref) {
		targets = append(targets, imagecache.Target{Key: imagecache.KeyOf(ref)})
	}
	return targets, nil
}

// maxTag bounds a tag, in bytes: post: or user: and the longest id of an event.
const maxTag = 5 + 256

// targetsOfTag returns the known originals with a tag, possibly none.
func (p *api) targetsOfTag(ctx context.Context, tag string) (targets []imagecache.Target, err error) {
	if len(tag) > maxTag {
		return nil, problem.Errorf(problem.ErrRequest, "The tag has %d bytes, not 1-%d.", len(tag), maxTag)
	}
	originals, err := p.Operator.Tagged(ctx, tag)
	if err != nil {
		return nil, problem.Errorf(problem.ErrNotReady, "Nothing was changed: %v. Try again.", err)
	}
	for _, of := range originals {
		targets = append(targets, imagecache.Target{Original: of})
	}
	return targets, nil
}

func (p *api) whole(source, name string) ([]imagecache.Target, error) {
	if err := p.checkSource(source); err != nil {
		return nil, err
	}
	return []imagecache.Target{{Original: imagecache.Original{Source: source, Name: name}}}, nil
}

// checkSource refuses unknown sources: a purge with a misspelled one would look like a purge that
// had nothing to remove.
func (p *api) checkSource(source string) error {
	if _, ok := p.Catalog.Sources[source]; !ok {
		return problem.Errorf(problem.ErrRequest, "There is no source %q.", source)
	}
	return nil
}
