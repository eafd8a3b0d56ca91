package finding

import (
	"context"
	"log/slog"
	"time"
)

// selfCheckDelay is how long after its start a program checks itself: it has enough to do before.
const selfCheckDelay = 10 * time.Second

// SelfCheck runs the checks of doctor once in a program that serves, 10 s after its start, and logs what is wrong,
// each with what to do. It returns nil, earlier if ctx is done.
func SelfCheck(ctx context.Context, log *slog.Logger, check func(context.Context) Report) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(selfCheckDelay):
	}
	report := check(ctx)
	if ctx.Err() != nil { // the program drains
		return nil
	}
	for _, f := range report {
		level := slog.LevelWarn
		switch f.Level {
		case OK:
			continue
		case Fault:
			level = slog.LevelError
		}
		log.Log(ctx, level, "self-check", "subject", f.Name, "finding", f.Text, "fix", f.Fix)
	}
	log.Info("self-check done", "faults", report.Count(Fault), "warnings", report.Count(Warning))
	return nil
}
