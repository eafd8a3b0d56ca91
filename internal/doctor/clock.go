package doctor

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/origin/sourceurl"
)

// S3 refuses signatures whose time is 15 minutes off. Freshness by Date is wrong before that.
const (
	clockWarning = 30 * time.Second
	clockFault   = 10 * time.Minute
)

// checkClock compares this machine's clock with the Date header of a source. It finds nothing
// where the source sends none or cannot be reached, which checkSource reports.
func checkClock(ctx context.Context, cfg config.Config, s config.Source) []Finding {
	at := clockURL(ctx, cfg, s)
	if at == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.OriginTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, at, nil)
	if err != nil {
		return nil
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	_ = resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return nil
	}
	// Date is in whole seconds and was written between start and now.
	offset := start.Add(time.Since(start) / 2).Sub(date.Add(500 * time.Millisecond)).Round(time.Second).Abs()
	name, fix := "clock against source "+s.Name, "synchronize both clocks by NTP"
	switch {
	case offset >= clockFault:
		return []Finding{fault(name, fix, "the clocks differ by %s: S3 refuses signatures, and ages are wrong", offset)}
	case offset >= clockWarning:
		return []Finding{warning(name, fix, "the clocks differ by %s: ages are wrong", offset)}
	}
	return []Finding{ok(name, "the clocks agree")}
}

// clockURL returns a URL whose answer has a Date header; "" if the source has none.
func clockURL(ctx context.Context, cfg config.Config, s config.Source) string {
	switch {
	case s.URL.Kind == sourceurl.S3 && s.URL.Endpoint != "":
		return s.URL.Endpoint
	case s.URL.Kind == sourceurl.S3 && s.URL.Region != "":
		return "https://s3." + s.URL.Region + ".amazonaws.com/"
	case s.URL.Kind == sourceurl.HTTP && (cfg.AllowPrivateOrigins || !privateHost(ctx, s.URL.Base)):
		return s.URL.Base
	}
	return ""
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
