package metrics

import "github.com/prometheus/client_golang/prometheus"

// reloads counts how often the settings were read again.
type reloads struct {
	good, bad prometheus.Counter
	last      prometheus.Gauge
	in        *instruments
}

func newReloads(in *instruments) *reloads {
	total := in.counters("reloads_total",
		"Reloads after SIGHUP: success, or failure if anything kept its old value because its file is invalid.", "outcome")
	return &reloads{
		good: total.WithLabelValues("success"), bad: total.WithLabelValues("failure"), in: in,
		last: in.auto.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "last_reload_success_timestamp_seconds",
			Help: "Unix time of the last successful reload; 0 before the first.",
		}),
	}
}

// Reloaded counts a reload.
func (r *reloads) Reloaded(ok bool) {
	if !ok {
		r.bad.Inc()
		return
	}
	r.good.Inc()
	r.last.Set(float64(r.in.now().UnixMilli()) / 1000)
}
