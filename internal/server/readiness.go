package server

import (
	"errors"
	"sync/atomic"

	"github.com/novasocial/imagetier/internal/fleet"
	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/resize/workers"
)

// readiness decides what /readyz answers.
type readiness struct {
	pool     *workers.Pool
	tiers    *tiers
	fleet    *fleet.Node
	draining atomic.Bool
}

func (r *readiness) drain() { r.draining.Store(true) }

var (
	errDraining = errors.New("draining")
	errStarting = errors.New("starting: no resize process has started yet")
)

// err returns why this node should get no requests, nil if it is ready. A failing disk is
// no reason: the tier serves without it.
func (r *readiness) err() error {
	if r.draining.Load() {
		return errDraining
	}
	select {
	case <-r.pool.Ready():
		return r.fleet.Ready()
	default:
		return errStarting
	}
}

// health returns the health for the console.
func (r *readiness) health() console.Health {
	switch err := r.err(); err {
	case nil:
	case errDraining:
		return console.Health{Status: "draining"}
	default:
		return console.Health{Status: "starting", Reasons: []string{err.Error()}}
	}
	reasons := r.tiers.degraded()
	if waiting := r.fleet.Waiting(); waiting != "" {
		reasons = append(reasons, waiting)
	}
	if len(reasons) > 0 {
		return console.Health{Status: "degraded", Reasons: reasons}
	}
	return console.Health{Status: "ok"}
}
