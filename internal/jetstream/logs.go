package jetstream

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Log is a stream of a cluster that every node follows.
type Log struct{ stream, subject string }

var (
	// Purges are kept for a week: a node that was away for longer empties its caches.
	Purges = Log{"IMAGETIER_PURGES", "imagetier.purge"}
	// Takedowns has the newest decision about each original, without a limit of age.
	Takedowns = Log{"IMAGETIER_TAKEDOWNS", "imagetier.takedown"}
	// Tags has the tags of originals, without a limit of age.
	Tags = Log{"IMAGETIER_TAGS", "imagetier.tag"}
)

// String returns the name of the stream.
func (l Log) String() string { return l.stream }

const (
	purgeAge      = 7 * 24 * time.Hour
	purgeBytes    = 1 << 30
	takedownBytes = 1 << 30
	tagBytes      = 128 << 20 // some 400,000 images
	tagMessage    = 512 << 10
)

func (l Log) config() jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: l.stream, Subjects: []string{l.subject + ".*"}, Storage: jetstream.FileStorage, AllowDirect: true,
		MaxMsgSize: 64 << 10, Duplicates: 2 * time.Minute,
	}
	switch l {
	case Hooks:
		cfg.Description = "imagetier: purges for the CDN hook"
		cfg.MaxAge, cfg.MaxBytes = hookAge, hookBytes
		cfg.Discard, cfg.Retention = jetstream.DiscardOld, jetstream.WorkQueuePolicy
	case Tags:
		cfg.Description = "imagetier: tags of originals"
		cfg.MaxBytes, cfg.MaxMsgSize, cfg.Discard = tagBytes, tagMessage, jetstream.DiscardOld
	case Takedowns:
		cfg.Description = "imagetier: the newest decision about originals that were taken down"
		cfg.MaxMsgsPerSubject, cfg.MaxBytes, cfg.Discard = 1, takedownBytes, jetstream.DiscardNew
	default:
		cfg.Description = "imagetier: purges"
		cfg.MaxAge, cfg.MaxBytes, cfg.Discard = purgeAge, purgeBytes, jetstream.DiscardOld
	}
	return cfg
}

// Hooks has the purges of a node that is alone, each kept until the hook has accepted it. A fleet
// uses Purges for that.
var Hooks = Log{"IMAGETIER_HOOKS", "imagetier.hook"}

// Bounds of Hooks.
const (
	hookBytes = 16 << 20 // some 60,000 undelivered purges
	hookAge   = 7 * 24 * time.Hour
)
