package server

import (
	"context"
	"log/slog"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// Reread reads the settings again ([config.Reload]).
type Reread func() (config.Config, *settings.Resolved, settings.Reload)

// runReloads reloads for each value of Config.Hangup, until ctx is done.
func (s *Server) runReloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.cfg.Hangup:
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.reload(ctx)
		}()
		select {
		case <-done:
		case <-ctx.Done(): // a file may be on a file system that hangs
			return nil
		}
	}
}

// reload replaces keys, secrets, profiles, watermarks, takedowns and certificates by the content of their
// files. An invalid one keeps its old value, which is logged. Nothing else changes.
func (s *Server) reload(ctx context.Context) {
	cfg, resolved, changes := s.cfg.Reread()
	s.telemetry.Hide(cfg.Secrets)
	r := reloading{log: s.log, ok: len(changes.Faults) == 0}
	for _, fault := range changes.Faults {
		s.log.Error("reload: invalid setting, keeping the old value", "err", fault)
	}
	for _, name := range changes.Restart {
		s.log.Warn("reload: setting needs a restart", "setting", name)
	}
	valid := func(name string) bool { return !changes.Invalid && !resolved.Faulty(name) }
	if valid("keys") {
		r.replace("keys", s.signer.Replace(cfg.Keys...), "ids", idsOf(cfg.Keys))
	}
	if valid("watermark") { // before the profiles, which may use new ones
		r.replace("watermarks", s.replaceWatermarks(ctx, cfg), "count", len(cfg.Watermarks))
	}
	if valid("profiles") {
		r.replace("profiles", s.prefetch.ReplaceProfiles(cfg.Profiles), "count", len(cfg.Profiles.Names()))
	}
	if valid("admin-token") {
		s.adminToken.Replace(cfg.AdminToken)
		r.replace("admin token", nil, "set", s.adminToken.Set())
	}
	if valid("s3-events-token") {
		s.s3EventsToken.Replace(cfg.S3EventsToken)
		r.replace("S3 events token", nil, "set", s.s3EventsToken.Set())
	}
	if valid("webhook-secrets") {
		secrets := cfg.WebhookSecrets
		r.replace("webhook secrets", s.prefetch.ReplaceWebhookSecrets(secrets), "count", len(secrets))
	}
	if !resolved.Faulty("tls-cert") {
		r.replace("certificate", s.publicServer.ReloadCertificate())
	}
	down, err := s.fleet.RereadTakedowns(ctx)
	r.replace("takedowns", err, "new", down)
	s.metrics.Reloaded(r.ok)
}

// reloading logs the outcome of a reload.
type reloading struct {
	log *slog.Logger
	ok  bool
}

func (r *reloading) replace(subject string, err error, attrs ...any) {
	if err != nil {
		r.ok = false
		r.log.Error("reload failed, keeping the old value", "what", subject, "err", err)
		return
	}
	r.log.Info("reloaded", append([]any{"what", subject}, attrs...)...)
}

func (s *Server) replaceWatermarks(ctx context.Context, cfg config.Config) error {
	return s.watermarks.Replace(watermarkDigests(cfg), func() error {
		return s.workers.ReplaceWatermarks(ctx, watermarkFiles(cfg))
	})
}

func idsOf(keys []imageurl.Key) (ids []string) {
	for _, k := range keys {
		ids = append(ids, k.ID)
	}
	return ids
}
