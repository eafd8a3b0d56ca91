package fleet

import (
	"context"
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/internal/jsonlog"
)

// RereadTakedowns reads the file of takedowns again, which an operator may have restored or edited,
// and purges the newly taken down originals here. It returns their number. Newer decisions that the
// file lacks stay, and are written to it. If the file cannot be read, nothing changes. Other nodes
// are not notified: each reads its own file.
func (n *Node) RereadTakedowns(ctx context.Context) (down int, err error) {
	changed, err := n.state.takedowns.reread()
	for _, e := range changed {
		if e.Kind == KindTakedown {
			down++
		}
		_, purgeErr := n.remove(ctx, e)
		err = errors.Join(err, purgeErr)
	}
	return down, err
}

// reread reads the file again, and returns the decisions that changed a register.
func (r *registers) reread() (changed []Entry, err error) {
	r.applying.Lock() // no line is being written
	defer r.applying.Unlock()
	var lines []line
	log, err := jsonlog.Open(r.cfg, func(l line) { lines = append(lines, l) })
	if err != nil {
		return nil, fmt.Errorf("read the takedowns: %w", err)
	}
	_ = r.log.Close() // all its lines are durable
	r.log = log

	inFile := make(map[Stamp]bool, len(lines))
	before := make(map[Stamp]bool)
	for _, e := range r.all() {
		before[e.Stamp] = true
	}
	for _, l := range lines {
		inFile[l.Stamp] = true
	}
	r.set(lines...)
	complete := true
	for _, e := range r.all() {
		complete = complete && inFile[e.Stamp]
		if !before[e.Stamp] {
			changed = append(changed, e)
		}
	}
	if complete {
		return changed, nil
	}
	return changed, r.rewrite()
}

func (r *registers) fault() error {
	r.applying.RLock()
	defer r.applying.RUnlock()
	return r.log.Fault()
}

func (r *registers) close() error {
	r.applying.Lock()
	defer r.applying.Unlock()
	return r.log.Close()
}
