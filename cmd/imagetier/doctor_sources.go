package main

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/sources"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/sourceurl"
)

// sources asks every source for an original that cannot be there.
func (d *doctor) sources(ctx context.Context) {
	for _, s := range d.cfg.Sources {
		d.source(ctx, s)
	}
}

func (d *doctor) source(ctx context.Context, s config.Source) {
	what := "source " + s.Name
	ctx, cancel := context.WithTimeout(ctx, d.cfg.OriginTimeout)
	defer cancel()
	src, err := sources.Open(ctx, d.cfg, s.URL)
	if err != nil {
		mend := "look at its URL: " + s.Text
		if errors.Is(err, fs.ErrNotExist) {
			mend = "make the directory, or mount it"
		} else if errors.Is(err, fs.ErrPermission) {
			mend = "let the user that imagetier runs as read it"
		}
		d.fault(what, mend, "%v", err)
		return
	}
	begun := time.Now()
	object, err := src.Open(ctx, "imagetier-doctor-"+rand.Text()+".jpg", origin.Cond{})
	took := time.Since(begun).Round(100 * time.Microsecond)
	switch {
	case err == nil:
		_ = object.Body.Close()
		d.fault(what, "make the origin answer 404: what is missing would be served, and kept, as if it were there", "it answers with something for a name that nothing has")
	case errors.Is(err, origin.ErrNotFound):
		d.ok(what, "it can be reached (%s), and says that a name is missing which is", took)
	case errors.Is(err, origin.ErrDenied):
		d.denied(ctx, what, s, err)
	case errors.Is(err, context.DeadlineExceeded):
		d.fault(what, "look at network and DNS from this machine, or give a longer --origin-timeout", "no answer within %s: %v", d.cfg.OriginTimeout, err)
	default:
		d.fault(what, "look at network and DNS from this machine, and at the URL: "+s.Text, "%v", err)
	}
	d.clock(ctx, s)
}

// denied tells the reasons apart for which an origin is not let in to.
func (d *doctor) denied(ctx context.Context, what string, s config.Source, err error) {
	switch {
	case s.URL.Kind == sourceurl.S3 && !s.URL.MissingIs403:
		d.fault(what, "if originals that exist can be read, the bucket hides what is missing: add ?missing=403 to the source, or allow s3:ListBucket; otherwise look at the credentials (AWS_…)",
			"it answers 403 for a name that nothing has: %v", err)
	case s.URL.Kind == sourceurl.HTTP && !d.cfg.AllowPrivateOrigins && privateHost(ctx, s.URL.Base):
		d.fault(what, "if you mean it: --allow-private-origins", "it is at a private address: %v", err)
	case s.URL.Kind == sourceurl.S3:
		d.fault(what, "look at the credentials (AWS_…) and the bucket's policy", "%v", err)
	default:
		d.fault(what, "make the origin answer 404 for what is missing, and let this machine in", "it denies access: %v", err)
	}
}

// privateHost reports whether a URL's host is, or resolves to, an address that is not public.
func privateHost(ctx context.Context, base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if a.IP.IsLoopback() || a.IP.IsPrivate() || a.IP.IsLinkLocalUnicast() || a.IP.IsUnspecified() {
			return true
		}
	}
	return false
}

// S3 refuses signatures that are 15 minutes off; freshness by Date goes wrong long before.
const (
	clockWarning = 30 * time.Second
	clockFault   = 10 * time.Minute
)

// clock compares this machine's clock with the origin's, where it tells its own.
func (d *doctor) clock(ctx context.Context, s config.Source) {
	at := s.URL.Base
	switch {
	case s.URL.Kind == sourceurl.S3 && s.URL.Endpoint != "":
		at = s.URL.Endpoint
	case s.URL.Kind == sourceurl.S3 && s.URL.Region != "":
		at = "https://s3." + s.URL.Region + ".amazonaws.com/"
	case s.URL.Kind == sourceurl.HTTP && (d.cfg.AllowPrivateOrigins || !privateHost(ctx, at)):
	default:
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, at, nil)
	if err != nil {
		return
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	begun := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return // that it cannot be reached has been said
	}
	_ = resp.Body.Close()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	// Date has whole seconds, and was written between begun and now.
	off := begun.Add(time.Since(begun) / 2).Sub(theirs.Add(500 * time.Millisecond)).Round(time.Second)
	what, mend := "clock against source "+s.Name, "set the clock by NTP, here or there"
	switch {
	case off.Abs() >= clockFault:
		d.fault(what, mend, "they are %s apart: S3 refuses signatures, and ages are wrong", off.Abs())
	case off.Abs() >= clockWarning:
		d.warn(what, mend, "they are %s apart: ages are wrong", off.Abs())
	default:
		d.ok(what, "they agree")
	}
}
