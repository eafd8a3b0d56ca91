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

// target is an origin, or a store that is asked like one.
type target struct {
	name    string // of the finding
	setting string // that configures it
	text    string // the URL as it was given
	url     sourceurl.Source
}

// Sources requests a random name from every source, which the source must call missing,
// and compares clocks.
func Sources(ctx context.Context, in Input) (found []Finding) {
	for _, s := range in.Config.Sources {
		source := target{"source " + s.Name, "--source " + s.Name, s.Text, s.URL}
		found = append(found, checkOrigin(ctx, in.Config, source))
		found = append(found, checkClock(ctx, in.Config, s)...)
	}
	return found
}

func checkOrigin(ctx context.Context, cfg config.Config, t target) Finding {
	ctx, cancel := context.WithTimeout(ctx, cfg.OriginTimeout)
	defer cancel()
	src, err := sources.Open(ctx, cfg, t.url)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault(t.name, "create the directory, or mount it", "%v", err)
	case errors.Is(err, fs.ErrPermission):
		return fault(t.name, "give read access to the user that imagetier runs as", "%v", err)
	case err != nil:
		return fault(t.name, cureOf(err, t.setting, t.text), "%v", err)
	}
	start := time.Now()
	object, err := src.Open(ctx, "imagetier-doctor-"+rand.Text()+".jpg", origin.Cond{})
	took := time.Since(start).Round(100 * time.Microsecond)
	switch {
	case err == nil:
		_ = object.Body.Close()
		return fault(t.name, "make the origin answer 404: otherwise its error pages are served and cached as images",
			"it answers with content for a random name")
	case errors.Is(err, origin.ErrNotFound):
		return ok(t.name, "reachable (%s), and a missing name is reported as missing", took)
	case errors.Is(err, origin.ErrDenied):
		return denied(ctx, cfg, t, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault(t.name, "check network and DNS from this machine, or give a longer --origin-timeout",
			"no answer within %s: %v", cfg.OriginTimeout, err)
	}
	return fault(t.name, cureOf(err, t.setting, t.text), "%v", err)
}

// denied distinguishes the reasons why an origin denies access.
func denied(ctx context.Context, cfg config.Config, t target, err error) Finding {
	s3 := t.url.Kind == sourceurl.S3
	hidden := "the bucket hides missing names: add ?missing=403 to the source, or allow s3:ListBucket"
	if t.setting == "--derived" {
		hidden = "the bucket hides missing names: allow s3:ListBucket"
	}
	switch {
	case errors.Is(err, origin.ErrNoCredentials), errors.Is(err, origin.ErrExpired),
		errors.Is(err, origin.ErrCredentials), errors.Is(err, origin.ErrClock):
		return fault(t.name, cureOf(err, t.setting, t.text), "%v", err)
	case errors.Is(err, origin.ErrMayNotList):
		return fault(t.name, hidden, "it answers 403 for a random name: %v", err)
	case s3 && !t.url.MissingIs403:
		return fault(t.name, "if existing originals can be read, "+hidden+
			"; otherwise allow s3:GetObject in the policy of "+
			"the bucket and of the user", "it answers 403 for a random name: %v", err)
	case t.url.Kind == sourceurl.HTTP && !cfg.AllowPrivateOrigins && privateHost(ctx, t.url.Base):
		return fault(t.name, "if that is intended, give --allow-private-origins", "it has a private address: %v", err)
	case s3:
		return fault(t.name, "allow s3:GetObject in the policy of the bucket and of the user", "%v", err)
	}
	return fault(t.name, "make the origin answer 404 for missing names, and give this machine access", "access denied: %v", err)
}
