package resize

import (
	"context"
	"sync/atomic"
	"time"
)

// Meter adds up the CPU time of the jobs that a Resizer did for a context. A job that several contexts shared
// is counted for one of them. The time of Optional Specs is not counted.
type Meter struct{ spent atomic.Int64 }

// CPU returns the sum. It is 0 if the system does not report CPU times.
func (m *Meter) CPU() time.Duration { return time.Duration(m.spent.Load()) }

type meterKey struct{}

// WithMeter returns a context whose jobs m counts.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// AddCPU adds the time of a job to the Meter of ctx, if it has one.
func AddCPU(ctx context.Context, d time.Duration) {
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok {
		m.spent.Add(int64(d))
	}
}
