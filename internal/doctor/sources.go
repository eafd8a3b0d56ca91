package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/sources"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/sourceurl"
)

// Sources requests a random name from every source, which the source must call missing,
// and compares clocks.
func Sources(ctx context.Context, in Input) (found []Finding) {
	for _, s := range in.Config.Sources {
		found = append(found, checkSource(ctx, in.Config, s))
		found = append(found, checkClock(ctx, in.Config, s)...)
	}
	return found
}

func checkSource(ctx context.Context, cfg config.Config, s config.Source) Finding {
	name := "source " + s.Name
	ctx, cancel := context.WithTimeout(ctx, cfg.OriginTimeout)
	defer cancel()
	src, err := sources.Open(ctx, cfg, s.URL)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault(name, "create the directory, or mount it", "%v", err)
	case errors.Is(err, fs.ErrPermission):
		return fault(name, "give read access to the user that imagetier runs as", "%v", err)
	case err != nil:
		return fault(name, "check its URL: "+s.Text, "%v", err)
	}
	start := time.Now()
	object, err := src.Open(ctx, "imagetier-doctor-"+rand.Text()+".jpg", origin.Cond{})
	took := time.Since(start).Round(100 * time.Microsecond)
	switch {
	case err == nil:
		_ = object.Body.Close()
		return fault(name, "make the origin answer 404: otherwise its error pages are served and cached as images",
			"it answers with content for a random name")
	case errors.Is(err, origin.ErrNotFound):
		return ok(name, "reachable (%s), and a missing name is reported as missing", took)
	case errors.Is(err, origin.ErrDenied):
		return denied(ctx, cfg, s, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(name, "check network and DNS from this machine, or give a longer --origin-timeout",
			"no answer within %s: %v", cfg.OriginTimeout, err)
	}
	return fault(name, "check network and DNS from this machine, and the URL: "+s.Text, "%v", err)
}

// denied distinguishes the reasons why an origin denies access.
func denied(ctx context.Context, cfg config.Config, s config.Source, err error) Finding {
	name := "source " + s.Name
	switch {
	case s.URL.Kind == sourceurl.S3 && !s.URL.MissingIs403:
		return fault(name, "if existing originals can be read, the bucket hides missing names: add ?missing=403 to the source, "+
			"or allow s3:ListBucket; otherwise check the credentials (AWS_…)",
			"it answers 403 for a random name: %v", err)
	case s.URL.Kind == sourceurl.HTTP && !cfg.AllowPrivateOrigins && privateHost(ctx, s.URL.Base):
		return fault(name, "if that is intended, give --allow-private-origins", "it has a private address: %v", err)
	case s.URL.Kind == sourceurl.S3:
		return fault(name, "check the credentials (AWS_…) and the bucket's policy", "%v", err)
	}
	return fault(name, "make the origin answer 404 for missing names, and give this machine access", "access denied: %v", err)
}
