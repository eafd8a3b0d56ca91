package server

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/novasocial/imagetier/internal/doctor"
	"github.com/novasocial/imagetier/internal/settings"
)

// selfCheckDelay is how long after its start a tier checks itself: it has enough to do before.
const selfCheckDelay = 10 * time.Second

// selfCheck runs doctor's checks once and logs what is wrong, each with what to do.
func selfCheck(ctx context.Context, log *slog.Logger, in doctor.Input, checks ...doctor.Check) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(selfCheckDelay):
	}
	report, err := doctor.Run(ctx, in, checks...)
	if err != nil {
		return nil //nolint:nilerr // the server drains
	}
	for _, f := range report {
		level := slog.LevelWarn
		switch f.Level {
		case doctor.OK:
			continue
		case doctor.Fault:
			level = slog.LevelError
		}
		log.Log(ctx, level, "self-check", "subject", f.Name, "finding", f.Text, "fix", f.Fix)
	}
	log.Info("self-check done", "faults", report.Count(doctor.Fault), "warnings", report.Count(doctor.Warning))
	return nil
}

func (s *Server) selfCheck(ctx context.Context) error {
	in := doctor.Input{Config: s.cfg.Config, Resolved: cmp.Or(s.cfg.Resolved, new(settings.Resolved))}
	return selfCheck(ctx, s.log, in, doctor.Running()...)
}
