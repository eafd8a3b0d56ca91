package doctor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/origin"
)

// dialTimeout bounds asking one service.
const dialTimeout = 5 * time.Second

// Services asks the other services that are configured: the shared store, the cluster of NATS, the balancer and the
// purge hook.
func Services(ctx context.Context, in Input) (found []Finding) {
	cfg := in.Config
	if cfg.Derived.Set() {
		found = append(found, checkOrigin(ctx, cfg, target{"derived", "--derived", cfg.Derived.Text, cfg.Derived.URL}))
	}
	if cfg.NATS != "" {
		found = append(found, checkNATS(ctx, cfg))
	}
	if cfg.Balancer != "" {
		found = append(found, checkHTTP(ctx, "balancer", "--balancer", http.MethodGet, cfg.Balancer+"/healthz",
			func(status int) bool { return status == http.StatusOK }))
	}
	if cfg.PurgeHook != "" {
		// Any answer but 404 and 5xx shows that the adapter is there: it must refuse a request
		// without a signature.
		found = append(found, checkHTTP(ctx, "purge hook", "--purge-hook", http.MethodHead, cfg.PurgeHook,
			func(status int) bool { return status != http.StatusNotFound && status < 500 }))
	}
	return found
}

func checkNATS(ctx context.Context, cfg config.Config) Finding {
	const name = "nats"
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err := jetstream.Check(ctx, cfg.NATS, cfg.StreamReplicas)
	switch {
	case errors.Is(err, jetstream.ErrSingleServer):
		return fault(name, "give --stream-replicas 1, or --nats a cluster of at least as many servers",
			"%v, and --stream-replicas is %d: this node warms nothing, and purges do not reach other nodes",
			err, cfg.StreamReplicas)
	case err != nil:
		return fault(name, "start the cluster with JetStream (nats-server -js), and check host, port, user and password of --nats: "+
			"until it can be reached this node warms nothing, and purges do not reach other nodes", "%v", err)
	}
	return ok(name, "the cluster answers")
}

// checkHTTP asks a URL; good reports whether a status is as it should be. Redirects are not followed.
func checkHTTP(ctx context.Context, name, setting, method, at string, good func(status int) bool) Finding {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return fault(name, "check the URL of "+setting, "%v", err)
	}
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		var inURL *url.Error
		if errors.As(err, &inURL) {
			err = inURL.Err // without the URL, whose query may have a token
		}
		return fault(name, cureOf(origin.NoAnswer(err), setting, ""), "%v", err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if !good(resp.StatusCode) {
		return fault(name, "check the URL of "+setting+", and what answers there", "%s %s answers %s",
			method, req.URL.Path, resp.Status)
	}
	return ok(name, "it answers")
}

// cureOf returns what to do about an error of a request to the URL text of a setting.
func cureOf(err error, setting, text string) string {
	var region *origin.WrongRegion
	switch {
	case errors.Is(err, origin.ErrNoCredentials):
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role"
	case errors.Is(err, origin.ErrExpired):
		return "renew AWS_SESSION_TOKEN and its key, or use a role, whose credentials are renewed by themselves"
	case errors.Is(err, origin.ErrCredentials):
		return "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: the store does not know the key, or the secret is of another one"
	case errors.Is(err, origin.ErrClock):
		return "synchronize the clock of this machine by NTP"
	case errors.Is(err, origin.ErrNoBucket):
		return "check the bucket's name, region and endpoint: " + text
	case errors.As(err, &region) && region.Region != "":
		return "set ?region=" + region.Region + " in " + setting
	case errors.Is(err, origin.ErrRegion):
		return "set ?region= in " + setting + " to the bucket's region"
	case errors.Is(err, origin.ErrConnRefused):
		return "nothing listens there: start the service, or check host and port of " + setting
	case errors.Is(err, origin.ErrNoHost):
		return "check the host name of " + setting + ", and DNS on this machine"
	case errors.Is(err, origin.ErrTLS):
		return "check whether the URL of " + setting + " should begin with http or https, and the certificate of the service"
	case errors.Is(err, context.DeadlineExceeded):
		return "check network, firewall and DNS between this machine and the host of " + setting
	}
	return "check network and DNS from this machine, and the URL of " + setting
}
