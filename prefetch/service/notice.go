package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// Bucket is an S3 source that a notification may be about.
type Bucket struct {
	Name   string
	Prefix string // of keys; "" for all keys, else it ends in /
	Source string // alias
}

// Notice handles an S3 event notification. Objects that were created or replaced are purged and
// then warmed by the profile feed, in the version that their URLs carry (--image-prefix); removed
// ones and expired ones are purged. kinds are s3.created and s3.removed, one for each object of a
// configured source; other objects are ignored. Unreadable records are counted and logged.
func (s *Service) Notice(ctx context.Context, body []byte) (kinds []string, err error) {
	notices, bad, err := events.ParseNotices(body)
	if err != nil {
		return nil, clientError(ErrInvalid, err)
	}
	ignore := func(err error) {
		s.cfg.Metrics.Event("unknown", "invalid")
		s.cfg.Log.Warn("S3 notification ignored", "err", err)
	}
	for _, err := range bad {
		ignore(err)
	}
	for _, n := range notices {
		for _, b := range s.cfg.Buckets {
			name, ok := strings.CutPrefix(n.Key, b.Prefix)
			if n.Bucket != b.Name || !ok || name == "" {
				continue
			}
			if err := imageurl.CheckImage(b.Source, name); err != nil {
				ignore(err)
				continue
			}
			plan, err := s.planNotice(n, b.Source, name)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256([]byte(b.Source + "\x00" + n.ID))
			if _, err := s.take(ctx, "s3 "+hex.EncodeToString(sum[:]), plan); err != nil {
				return nil, err
			}
			kind := "s3.created"
			if n.Removed {
				kind = "s3.removed"
			}
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// noticeProfile is the profile by which new objects are warmed.
const noticeProfile = "feed"

func (s *Service) planNotice(n events.Notice, source, name string) (warmer.Plan, error) {
	of := imagecache.Original{Source: source, Name: name}
	job := warmer.Job{Purges: []warmer.Purge{warmer.PurgeOf(of)}}
	if !n.Removed {
		if v, ok := s.cfg.Links.VersionOf(source, n.ETag); ok {
			if img, err := profile.NewImage(source, name, v); err == nil {
				job.Warms = []warmer.Warm{{Image: img, Profile: noticeProfile}}
			}
		}
	}
	data, err := json.Marshal(job)
	return warmer.Plan{Messages: []warmer.Message{{Priority: warmer.Second, Data: data}}}, err
}

// notified handles a notification that an S3 server published over NATS.
func (s *Service) notified(ctx context.Context, _ string, data []byte) error {
	kinds, err := s.Notice(ctx, data)
	switch {
	case errors.Is(err, ErrInvalid):
		s.cfg.Metrics.Event("unknown", "invalid")
		return fmt.Errorf("%w: %w", jetstream.ErrUseless, err)
	case err != nil:
		return err
	case len(kinds) == 0:
		s.cfg.Metrics.Event("unknown", "ignored")
	}
	for _, kind := range kinds {
		s.cfg.Metrics.Event(kind, "accepted")
	}
	return nil
}
