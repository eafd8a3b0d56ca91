package config

import (
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

// commonNames are the settings that proxy and serve both read.
var commonNames = []string{
	"listen", "private-listen", "drain-timeout", "dev",
	"image-base", "image-prefix", "keys", "profiles", "fields",
	"tier", "admin-token", "webhook-secret",
	"log-level", "log-format",
}

// schema returns the settings bound to c.
func schema(c *Config) *settings.Schema {
	s := &settings.Schema{Prefix: EnvPrefix}
	add := func(group string, x settings.Setting) {
		x.Group = group
		s.Settings = append(s.Settings, x)
	}
	var file string
	add("", settings.Setting{Name: settings.ConfigName, Placeholder: "FILE", Value: settings.String(&file),
		Help: "A YAML file of settings: --image-base is image.base in it, and IMAGETIER_GATEWAY_IMAGE_BASE in the environment. Flags go before the environment, the environment before the file."})

	add(groupListen, settings.Setting{Name: "listen", Placeholder: "ADDR", Default: ":8080", Value: settings.Address(&c.Listen),
		DefaultHelp: ":8080; with --dev 127.0.0.1:8080", Help: "Address of the public listener."})
	add(groupListen, settings.Setting{Name: "private-listen", Placeholder: "ADDR", Default: "127.0.0.1:8083", Value: settings.Address(&c.PrivateListen),
		Help: "Address of the private listener: metrics, health, readiness, profiles of the program."})
	add(groupListen, settings.Setting{Name: "drain-timeout", Placeholder: "TIME", Default: "25s", Value: settings.Duration(&c.DrainTimeout, 0, time.Hour),
		Help: "How long requests in flight may take after SIGTERM."})
	add(groupListen, settings.Setting{Name: "dev", Value: settings.Bool(&c.Dev),
		Help: "For trying things out: without keys URLs are signed with _, which a tier takes with --dev, and the public listener is on 127.0.0.1."})

	add(groupImages, settings.Setting{Name: "image-base", Placeholder: "URL", Value: base(&c.ImageBase), Required: "required",
		Help: "Where clients reach the tier: https://img.example.com."})
	add(groupImages, settings.Setting{Name: "image-prefix", Placeholder: "PREFIX=SOURCE", Value: settings.Items(&c.Prefixes, profile.ParsePrefix), Required: "required",
		Help: "What image URLs begin with, and the tier's source that they are in: https://cdn.app.example/=posts. May be given again. ?version=fixed says that a URL never gets another content (and is what counts where nothing is said), ?version=query:v that its parameter v changes with it, ?version=etag asks the tier; &kind=http is for sources that the tier fetches by HTTP."})
	add(groupImages, settings.Setting{Name: "keys", Placeholder: "ID=HEX,...", Secret: true, Value: keys(&c.Keys), Required: "required unless --dev",
		Help: "The tier's keys, at least 32 bytes each: the first signs. k2=HEX@2026-12-01,k1=HEX: with serve, k1 goes on to sign posts from before that day, so that their URLs do not change."})
	add(groupImages, settings.Setting{Name: "profiles", Placeholder: "FILE", Value: settings.String(&c.ProfileFile),
		DefaultHelp: "built in: feed, avatar, grid", Help: "The tier's YAML file of profiles."})
	add(groupImages, settings.Setting{Name: "fields", Placeholder: "FIELD=PROFILE,...", Default: "imageUrl=feed,thumbnailUrl=feed,avatarUrl=avatar", Value: fields(&c.Fields),
		Help: "Members of JSON objects whose values are image URLs, and the profiles of their thumbnails. serve knows these three; one that is left out is answered as the services have it."})

	add(groupTier, settings.Setting{Name: "tier", Placeholder: "URL", Value: httpURL(&c.Tier),
		Help: "The private listener of the tier, or of a balancer before it: http://tier:8081. It is told what was handed out, and asked for tags and facts."})
	add(groupTier, settings.Setting{Name: "admin-token", Placeholder: "TOKEN", Secret: true, Value: settings.Token(&c.AdminToken),
		Help: "The tier's admin token, for /v1/info."})
	add(groupTier, settings.Setting{Name: "webhook-secret", Placeholder: "WHSEC", Secret: true, Value: webhookSecrets(&c.WebhookSecret),
		Help: "One of the tier's webhook secrets (whsec_...), which signs feed.page events. Without it none are sent."})

	c.Proxy.settings(func(x settings.Setting) { add(groupProxy, x) })
	c.Serve.settings(func(x settings.Setting) { add(groupServe, x) })

	add(groupLog, settings.Setting{Name: "log-level", Placeholder: "LEVEL", Default: "info", Value: settings.Level(&c.LogLevel),
		Help: "debug, info, warn or error."})
	add(groupLog, settings.Setting{Name: "log-format", Placeholder: "FORMAT", Default: "json", Value: settings.Choice(&c.LogFormat, "json", "text"),
		DefaultHelp: "json; with --dev text", Help: "json or text."})
	return s
}

// A Proxy is what only the command proxy is told.
type Proxy struct {
	Upstream      *url.URL      // the service; no path
	AnswerTimeout time.Duration // to the first byte of an answer
	Fill          []Fill
}

// A Field is the name of a member whose value is an image URL, and the profile that its
// thumbnails are of.
type Field struct{ Name, Profile string }

// A Fill says that an empty Field gets the image of Source.
type Fill struct{ Field, Source string }

var proxyNames = []string{"upstream", "answer-timeout", "fill"}

func (p *Proxy) settings(add func(settings.Setting)) {
	add(settings.Setting{Name: "upstream", Placeholder: "URL", Value: httpURL(&p.Upstream), Required: "required by proxy",
		Help: "The service that answers: http://graphql:8080."})
	add(settings.Setting{Name: "answer-timeout", Placeholder: "TIME", Default: "10s", Value: settings.Duration(&p.AnswerTimeout, 10*time.Millisecond, time.Hour),
		Help: "How long it may take to begin an answer; 504 then."})
	add(settings.Setting{Name: "fill", Placeholder: "FIELD=FIELD,...", DefaultHelp: "thumbnailUrl=imageUrl, where both are in --fields", Value: fills(&p.Fill),
		Help: "A field that is null or \"\" gets the thumbnail of the other one before it in the same object."})
}
