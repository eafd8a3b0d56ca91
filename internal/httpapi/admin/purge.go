package admin

import (
	"fmt"
	"net/http"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/resize"
)

// purgeRequest names what is to be removed: source and name, or path, or tag.
type purgeRequest struct {
	Source string `json:"source"`
	Name   string `json:"name"` // decoded
	Path   string `json:"path"`
	Tag    string `json:"tag"`
	Soft   bool   `json:"soft"`
}

// receipt is imagecache.Receipt as CONTRACT 3 spells it.
type receipt struct {
	Variants  int   `json:"variants"`
	Originals int   `json:"originals"`
	Bytes     int64 `json:"bytes"`
	Nodes     nodes `json:"nodes"`
}

// nodes are those of a fleet that have applied a purge, of those that are known.
type nodes struct {
	Applied int `json:"applied"`
	Known   int `json:"known"`
}

// purge removes and answers with the receipt: from then on nothing of it is served, or,
// where the purge is soft, only while what replaces it is made.
func (p *api) purge(w http.ResponseWriter, r *http.Request) error {
	var req purgeRequest
	if err := readJSON(w, r, &req); err != nil {
		return err
	}
	targets, err := p.targets(req)
	if err != nil {
		return err
	}
	remove := p.Purge
	if req.Soft {
		remove = p.SoftPurge
	}
	done := receipt{Nodes: nodes{Applied: 1, Known: 1}}
	for _, target := range targets {
		one, err := remove(r.Context(), target)
		if err != nil {
			return fmt.Errorf("%w: %w", problem.ErrPurge, err)
		}
		done.add(one)
	}
	p.Log.Info("purged", "source", req.Source, "name", req.Name, "path", req.Path, "tag", req.Tag, "soft", req.Soft, "remote", r.RemoteAddr,
		"variants", done.Variants, "originals", done.Originals, "bytes", done.Bytes)
	return writeJSON(w, r, done.status(), done)
}

func (r *receipt) add(one imagecache.Receipt) {
	r.Variants += one.Variants
	r.Originals += one.Originals
	r.Bytes += one.Bytes
	if one.Known > 0 { // of several targets the one that fewest nodes have applied counts
		if r.Nodes.Known == 1 || one.Applied-one.Known < r.Nodes.Applied-r.Nodes.Known {
			r.Nodes = nodes{Applied: one.Applied, Known: one.Known}
		}
	}
}

// status is 202 while some node has not applied it.
func (r *receipt) status() int {
	if r.Nodes.Applied < r.Nodes.Known {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// takedown removes all that was made of an original, and has it answered with 451 until
// that is lifted.
func (p *api) takedown(w http.ResponseWriter, r *http.Request) error {
	originals, err := p.readOriginals(w, r)
	if err != nil {
		return err
	}
	done := receipt{Nodes: nodes{Applied: 1, Known: 1}}
	for _, of := range originals {
		one, err := p.Takedown(r.Context(), of)
		if err != nil {
			return fmt.Errorf("%w: %s %s: %w", problem.ErrTakedown, of.Source, of.Name, err)
		}
		done.add(one)
		p.Log.Info("taken down", "source", of.Source, "name", of.Name, "remote", r.RemoteAddr, "variants", one.Variants, "originals", one.Originals, "bytes", one.Bytes)
	}
	return writeJSON(w, r, done.status(), done)
}

// lift ends a takedown.
func (p *api) lift(w http.ResponseWriter, r *http.Request) error {
	originals, err := p.readOriginals(w, r)
	if err != nil {
		return err
	}
	any := false
	for _, of := range originals {
		lifted, err := p.Lift(of)
		if err != nil {
			return fmt.Errorf("%w: %s %s: %w", problem.ErrLift, of.Source, of.Name, err)
		}
		if lifted {
			p.Log.Info("takedown lifted", "source", of.Source, "name", of.Name, "remote", r.RemoteAddr)
		}
		any = any || lifted
	}
	if !any {
		return problem.ErrNotDown
	}
	return writeJSON(w, r, http.StatusOK, receipt{Nodes: nodes{Applied: 1, Known: 1}})
}

// readOriginals reads which originals a takedown is about. A tag that nothing bears is 404:
// whoever takes down must not believe that something was.
func (p *api) readOriginals(w http.ResponseWriter, r *http.Request) (originals []imagecache.Original, err error) {
	var req purgeRequest
	if err := readJSON(w, r, &req); err != nil {
		return nil, err
	}
	if req.Path != "" || req.Soft {
		return nil, problem.Errorf(problem.ErrRequest, `A takedown is of an original: {"source","name"} or {"tag"}.`)
	}
	targets, err := p.targets(req)
	if err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		return nil, problem.ErrTag
	}
	for _, target := range targets {
		originals = append(originals, target.Original)
	}
	return originals, nil
}

// targets checks req and returns what is to be removed.
func (p *api) targets(req purgeRequest) ([]imagecache.Target, error) {
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
		return p.targetsOfTag(req.Tag)
	case req.Path != "":
		return p.targetsOfPath(req.Path)
	case req.Source == "" || req.Name == "":
		return nil, problem.Errorf(problem.ErrRequest, "An original is named by source and name, both.")
	case len(req.Name) > imageurl.MaxName:
		return nil, problem.Errorf(problem.ErrRequest, "The name has %d bytes, not 1-%d.", len(req.Name), imageurl.MaxName)
	}
	return p.whole(req.Source, req.Name)
}

// targetsOfPath returns what a path stands for; its signature may be any. With auto that
// is the variants of all classes of clients. Of what is live, and of an original itself, it
// is the original and all that was made of it: the kept original would otherwise bring
// back the very bytes that were to go.
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

// targetsOfTag returns all originals that are known to bear a tag; there may be none.
func (p *api) targetsOfTag(tag string) (targets []imagecache.Target, err error) {
	switch {
	case p.Tagged == nil:
		return nil, problem.Errorf(problem.ErrRequest, "There are no tags here.")
	case len(tag) > maxTag:
		return nil, problem.Errorf(problem.ErrRequest, "The tag has %d bytes, not 1-%d.", len(tag), maxTag)
	}
	for _, of := range p.Tagged(tag) {
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

// checkSource: a misspelled source would otherwise be a purge that removed nothing, and
// looked like one that had nothing to remove.
func (p *api) checkSource(source string) error {
	if _, ok := p.Catalog.Sources[source]; !ok {
		return problem.Errorf(problem.ErrRequest, "There is no source %q.", source)
	}
	return nil
}
