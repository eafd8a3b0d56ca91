package config

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// EnvPrefix begins the environment variables of the gateway.
const EnvPrefix = "IMAGETIER_GATEWAY_"

const (
	groupListen = "Listeners:"
	groupImages = "Image URLs:"
	groupTier   = "The tier:"
	groupProxy  = "Proxy:"
	groupServe  = "Serve:"
	groupLog    = "Log:"
)

// commonNames are the settings of both proxy and serve.
var commonNames = []string{
	"listen", "private-listen", "drain-timeout", "dev",
	"image-base", "url-lifetime", "url-window", "image-prefix", "keys", "profiles", "fields",
	"tier", "admin-token", "webhook-secret",
	"log-level", "log-format",
}

// signNames are the settings of sign.
var signNames = []string{"image-base", "url-lifetime", "url-window", "image-prefix", "keys", "dev", "profiles"}

// schema returns the settings bound to c.
func schema(c *Config) *settings.Schema {
	s := &settings.Schema{Prefix: EnvPrefix}
	add := func(group string, x settings.Setting) {
		x.Group = group
		s.Settings = append(s.Settings, x)
	}
	var file string
	add("", settings.Setting{Name: settings.ConfigName, Placeholder: "FILE", Value: settings.String(&file),
		Help: "YAML file of settings. --image-base is image.base in the file and IMAGETIER_GATEWAY_IMAGE_BASE in the environment. Flags override the environment, which overrides the file."})

	add(
		groupListen,
		settings.Setting{Name: "listen", Placeholder: "ADDR", Default: ":8080", Value: settings.Address(&c.Listen),
			DefaultHelp: ":8080; with --dev 127.0.0.1:8080", Help: "Address of the public listener."},
	)
	add(
		groupListen,
		settings.Setting{
			Name:        "private-listen",
			Placeholder: "ADDR",
			Default:     "127.0.0.1:8083",
			Value:       settings.Address(&c.PrivateListen),
			Help:        "Address of the private listener: events, /readyz, /healthz, /metrics and /debug/pprof/.",
		},
	)
	add(
		groupListen,
		settings.Setting{
			Name:        "drain-timeout",
			Placeholder: "TIME",
			Default:     "25s",
			Value:       settings.Duration(&c.DrainTimeout, 0, time.Hour),
			Help:        "How long to wait for requests in flight after SIGTERM.",
		},
	)
	add(groupListen, settings.Setting{Name: "dev", Value: settings.Bool(&c.Dev),
		Help: "Development mode: listen on 127.0.0.1, and without keys sign URLs with _, which a tier accepts with --dev."})

	add(
		groupImages,
		settings.Setting{Name: "image-base", Placeholder: "URL", Value: base(&c.ImageBase), Required: "required",
			Help: "URL at which clients reach the tier: https://img.example.com."},
	)
	add(
		groupImages,
		settings.Setting{Name: "url-lifetime", Placeholder: "TIME", Default: "0s",
			Value: settings.Duration(&c.URLLifetime, 0, 10*365*24*time.Hour),
			Help: "Minimum lifetime of image URLs, for private images. " +
				"With 0s they never expire; an expired URL is answered with 403. " +
				"In proxy it applies to all images, in serve not to posts whose visibility is public."},
	)
	add(
		groupImages,
		settings.Setting{Name: "url-window", Placeholder: "TIME", Default: "24h",
			Value: settings.Duration(&c.URLWindow, time.Minute, 31*24*time.Hour),
			Help: "With --url-lifetime, URLs expire at multiples of this time, " +
				"so that a client gets the same URL in between."},
	)
	add(
		groupImages,
		settings.Setting{
			Name:        "image-prefix",
			Placeholder: "PREFIX=SOURCE",
			Value:       settings.Items(&c.Prefixes, profile.ParsePrefix),
			Required:    "required",
			Help:        "Prefix of plain image URLs, and the tier source that serves them: https://cdn.app.example/=posts. Repeatable. ?version=fixed (the default): the content of a URL never changes; ?version=query:v: its parameter v changes with the content; ?version=etag: the gateway asks the tier for the ETag. &kind=http, s3 or dir is the kind of the source; without it, only names that both directories and buckets accept are rewritten.",
		},
	)
	add(
		groupImages,
		settings.Setting{
			Name:        "keys",
			Placeholder: "ID=HEX,...",
			Secret:      true,
			Value:       keys(&c.Keys),
			Required:    "required unless --dev",
			Help:        "The tier's keys, at least 32 bytes each. The first one signs. With k2=HEX@2026-12-01,k1=HEX, serve still signs posts created before that day with k1, so that their URLs do not change.",
		},
	)
	add(groupImages, settings.Setting{Name: "profiles", Placeholder: "FILE", Value: settings.String(&c.ProfileFile),
		DefaultHelp: "built in: feed, avatar, grid", Help: "YAML file of profiles, the same as the tier's."})
	add(
		groupImages,
		settings.Setting{
			Name:        "fields",
			Placeholder: "FIELD=PROFILE,...",
			Default:     "imageUrl=feed,thumbnailUrl=feed,avatarUrl=avatar",
			Value:       fields(&c.Fields),
			Help:        "JSON fields with image URLs, and the profiles of their thumbnails. serve knows only these three, and does not rewrite a field that is left out.",
		},
	)

	add(groupTier, settings.Setting{Name: "tier", Placeholder: "URL", Value: httpURL(&c.Tier),
		Help: "URL of the tier's private listener, or of a load balancer in front of it: http://tier:8081. The gateway sends it the URLs of each page, and asks it for ETags and image metadata."})
	add(
		groupTier,
		settings.Setting{Name: "admin-token", Placeholder: "TOKEN", Secret: true, Value: settings.Token(&c.AdminToken),
			Help: "The tier's admin token, for POST /v1/info."},
	)
	add(
		groupTier,
		settings.Setting{
			Name:        "webhook-secret",
			Placeholder: "WHSEC",
			Secret:      true,
			Value:       webhookSecrets(&c.WebhookSecret),
			Help:        "One of the tier's webhook secrets (whsec_...), to sign feed.page events. Without it none are sent.",
		},
	)

	c.Proxy.settings(func(x settings.Setting) { add(groupProxy, x) })
	c.Serve.settings(func(x settings.Setting) { add(groupServe, x) })

	add(
		groupLog,
		settings.Setting{Name: "log-level", Placeholder: "LEVEL", Default: "info", Value: settings.Level(&c.LogLevel),
			Help: "debug, info, warn or error."},
	)
	add(
		groupLog,
		settings.Setting{
			Name:        "log-format",
			Placeholder: "FORMAT",
			Default:     "json",
			Value:       settings.Choice(&c.LogFormat, "json", "text"),
			DefaultHelp: "json; with --dev text",
			Help:        "json or text.",
		},
	)
	return s
}

// Proxy are the settings of the command proxy alone.
type Proxy struct {
	Upstream        *url.URL       // without a path
	UpstreamHost    string         // the Host that it sees; "" is that of the client
	AnswerTimeout   time.Duration  // until the first byte of an answer
	IdleTimeout     time.Duration  // of connections to the service
	MaxRequestBytes int64          // of a request's body
	TrustedProxies  []netip.Prefix // whose forwarding headers are used
	Fill            []Fill
}

// Field is the name of a JSON field that holds an image URL, and the profile of its thumbnails.
type Field struct{ Name, Profile string }

// Fill says that an empty Field gets the image of Source.
type Fill struct{ Field, Source string }

var proxyNames = []string{
	"upstream", "backend-host", "backend-idle-timeout", "answer-timeout",
	"max-request-bytes", "trusted-proxies", "fill",
}

func (p *Proxy) settings(add func(settings.Setting)) {
	add(
		settings.Setting{
			Name:        "upstream",
			Placeholder: "URL",
			Value:       httpURL(&p.Upstream),
			Required:    "required by proxy",
			Help:        "URL of the service to proxy: http://graphql:8080.",
		},
	)
	add(settings.Setting{Name: "backend-host", Placeholder: "HOST", Value: settings.Checked(&p.UpstreamHost, checkHost),
		DefaultHelp: "that of the client's request", Help: "Host header of requests to the service."})
	add(
		settings.Setting{
			Name:        "backend-idle-timeout",
			Placeholder: "TIME",
			Default:     "4s",
			Value:       settings.Duration(&p.IdleTimeout, time.Millisecond, time.Hour),
			Help:        "Idle timeout of connections to the service. Keep it below the service's own keep-alive timeout (5s in Node.js): a request that meets a closing connection fails, unless it is a query, which is sent again.",
		},
	)
	add(
		settings.Setting{
			Name:        "answer-timeout",
			Placeholder: "TIME",
			Default:     "10s",
			Value:       settings.Duration(&p.AnswerTimeout, 10*time.Millisecond, time.Hour),
			Help:        "Timeout of the first byte of an answer of the service; after it the gateway answers 504.",
		},
	)
	add(
		settings.Setting{
			Name:        "max-request-bytes",
			Placeholder: "SIZE",
			Default:     "64MiB",
			Value:       settings.Size(&p.MaxRequestBytes, 1<<10),
			Help:        "Maximum size of a request body; a larger one is answered with 413.",
		},
	)
	add(
		settings.Setting{
			Name:        "trusted-proxies",
			Placeholder: "CIDR,...",
			Default:     "127.0.0.0/8,::1/128",
			Value:       trustedProxies(&p.TrustedProxies),
			Help:        "Addresses of proxies in front of the gateway. Forwarded, X-Forwarded-* and X-Real-IP headers are passed on from these only. none trusts no address.",
		},
	)
	add(
		settings.Setting{
			Name:        "fill",
			Placeholder: "FIELD=FIELD,...",
			DefaultHelp: "thumbnailUrl=imageUrl, where both are in --fields",
			Value:       fills(&p.Fill),
			Help:        "Fill a field that is null or \"\" with the thumbnail of another field that precedes it in the same object.",
		},
	)
}
