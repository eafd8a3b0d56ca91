package main

import (
	"context"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// reloader replaces keys, profiles, tokens and secrets after SIGHUP.
type reloader struct {
	hangups <-chan os.Signal
	// reread reads the settings again.
	reread func() (config.Config, *settings.Resolved, settings.Reload)
	// replaced is called with settings whose keys or profiles may be new; may be nil.
	replaced func(config.Config)

	total *prometheus.CounterVec // outcome
	last  prometheus.Gauge
}

func newReloader(reg prometheus.Registerer, hangups <-chan os.Signal) *reloader {
	factory := promauto.With(reg)
	r := &reloader{hangups: hangups}
	r.total = factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "reloads_total",
		Help: "Reloads after SIGHUP: success, or failure if anything kept its old value because its file is invalid.",
	}, []string{"outcome"})
	r.total.WithLabelValues("success")
	r.total.WithLabelValues("failure")
	r.last = factory.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "last_reload_success_timestamp_seconds",
		Help: "Unix time of the last successful reload; 0 before the first.",
	})
	return r
}

// runReloads reloads at each SIGHUP until ctx is done.
func (g *gateway) runReloads(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.reloader.hangups:
		}
		done := make(chan bool, 1)
		go func() { done <- g.reload() }()
		var ok bool
		select {
		case ok = <-done:
		case <-ctx.Done(): // a file may be on a file system that hangs
			return nil
		}
		if ok {
			g.reloader.total.WithLabelValues("success").Inc()
			g.reloader.last.SetToCurrentTime()
		} else {
			g.reloader.total.WithLabelValues("failure").Inc()
		}
	}
}

// reload replaces keys, profiles, tokens and secrets by the content of their files. An invalid one keeps its
// old value, which is logged.
func (g *gateway) reload() (ok bool) {
	cfg, resolved, changes := g.reloader.reread()
	g.telemetry.Hide(cfg.Secrets)
	for _, fault := range changes.Faults {
		g.log.Error("reload: invalid setting, keeping the old value", "err", fault)
	}
	for _, name := range changes.Restart {
		g.log.Warn("reload: setting needs a restart", "setting", name)
	}
	if changes.Invalid {
		return false
	}
	ok = g.reloadCredentials(cfg, resolved)
	next := g.live
	if !resolved.Faulty("keys") {
		next.Keys = cfg.Keys
	}
	if !resolved.Faulty("profiles") {
		next.Profiles = cfg.Profiles
	}
	if err := g.linker.Replace(linkKeys(next.Keys), next.Profiles); err != nil {
		g.log.Error("reload failed, keeping the old value", "what", "keys, profiles", "err", err)
		return false
	}
	g.live = next
	g.cfg.Profiles.Replace(next.Profiles)
	if g.reloader.replaced != nil {
		g.reloader.replaced(next)
	}
	g.log.Info("reloaded", "what", "keys, profiles", "keys", len(next.Keys), "profiles", len(next.Profiles.Names()))
	return ok && len(changes.Faults) == 0
}

// reloadCredentials replaces the admin token and the secrets of webhooks, in both directions.
func (g *gateway) reloadCredentials(cfg config.Config, resolved *settings.Resolved) (ok bool) {
	if !resolved.Faulty("admin-token") {
		g.adminToken.Replace(cfg.AdminToken)
		if g.tier != nil {
			g.tier.SetAdminToken(cfg.AdminToken)
		}
		g.log.Info("reloaded", "what", "admin token", "set", g.adminToken.Set())
	}
	ok = true
	replace := func(what string, count int, err error) {
		if err != nil {
			ok = false
			g.log.Error("reload failed, keeping the old value", "what", what, "err", err)
			return
		}
		g.log.Info("reloaded", "what", what, "count", count)
	}
	switch {
	case resolved.Faulty("webhook-secret"):
	case g.signer != nil:
		replace("webhook secret", len(cfg.WebhookSecret), g.signer.Replace(cfg.WebhookSecret...))
	case len(cfg.WebhookSecret) > 0: // no events are sent
		g.log.Warn("reload: setting needs a restart", "setting", "webhook-secret")
	}
	if g.verifier != nil && !resolved.Faulty("webhook-secrets") {
		secrets := cfg.Serve.WebhookSecrets
		replace("webhook secrets", len(secrets), g.verifier.Replace(secrets...))
	}
	return ok
}

// counted counts the requests that a handler is answering.
type counted struct {
	http.Handler
	running atomic.Int64
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.running.Add(1)
	defer c.running.Add(-1)
	c.Handler.ServeHTTP(w, r)
}
