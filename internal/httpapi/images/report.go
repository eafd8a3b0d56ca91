package images

import (
	"log/slog"
	"math/rand/v2"

	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/metrics"
)

// maxLogged bounds how much of a path is logged, in bytes.
const maxLogged = 512

// report records errors, logs the request and calls the observer.
func (x *exchange) report() {
	if x.quiet {
		return
	}
	ctx := x.r.Context()
	level := slog.LevelInfo
	logged := x.LogEvery == 1 || x.LogEvery > 1 && rand.IntN(x.LogEvery) == 0
	if x.err != nil && x.status != problem.StatusClientGone {
		row := x.handler.problems.Of(ctx, x.err)
		logged = logged || row.Level >= x.LogErrors
		level = max(level, row.Level)
		x.Errors.Add(httpapi.RequestError{
			At: x.start, RequestID: x.id, Status: x.status, Code: row.Code, Detail: row.DetailOf(x.err),
			Path: httpapi.PathOf(x.r.Target), Seconds: x.Now().Sub(x.start).Seconds(),
		})
	}
	logged = logged && x.Log.Enabled(ctx, level)
	if !logged && x.Observe == nil {
		return
	}
	took := x.Now().Sub(x.start)
	if x.Observe != nil {
		x.Observe(metrics.Observation{
			Status: x.status, Outcome: x.out, Ref: x.ref, Found: x.found, Priority: x.priority,
			Format: x.format, Duration: took, Bytes: x.bytes,
		})
	}
	if !logged {
		return
	}
	path := httpapi.PathOf(x.r.Target)
	path = path[:min(len(path), maxLogged)]
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("method", x.r.Method),
		slog.String("path", path),
		slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("cache", x.out.Detail.String()),
		slog.String("request_id", x.id),
		slog.String("remote", x.r.RemoteAddr),
		slog.String("proto", x.r.Proto),
	)
	if x.err != nil {
		attrs = append(attrs, slog.String("err", x.err.Error()))
	}
	x.Log.LogAttrs(ctx, level, "request", attrs...)
}
