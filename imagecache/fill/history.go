package fill

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/resize"
)

// history learns which originals are requested again in other sizes, so that a mezzanine is made only
// where it is likely to be used. Making one costs about 45 ms of CPU after the first answer, and
// saves about 40 ms of each later size and nine tenths of the disk space of a 12-megapixel JPEG.
//
// It counts by profile: what is requested first of an original says most about what follows. An
// avatar's 200x200 is the only size, the 640 pixels of a post are followed by 1080. At the start no
// profile is likely: the mezzanine is then made with the second job of an original, which proves that
// there are more sizes. So an original costs one decode too many until its profile is known, and one
// that is requested in one size never pays for others.
//
// The zero value is ready.
type history struct {
	mu       sync.Mutex
	profiles map[profile]*share
	first    map[imagecache.Original]*list.Element // of recent
	recent   list.List                             // of *firstJob, oldest first
}

// profile is a source and the Specs of the first job of an original, sorted by name. specs is empty for
// all profiles beyond maxProfiles.
type profile struct{ source, specs string }

// share counts first jobs, and those that others followed. Both decay.
type share struct{ jobs, followed float64 }

type firstJob struct {
	of       imagecache.Original
	profile  profile
	at       time.Time
	followed bool
}

const (
	followWindow = time.Hour // a later job counts as the first of its original again
	maxRecent    = 10_000    // originals, so that history takes at most a few MiB
	maxProfiles  = 500
	shareWindow  = 256 // jobs of a profile after which its counts are halved
	minJobs      = 4   // jobs of a profile before it can be likely
	likelyShare  = 0.5 // of them
)

// note records a job for specs of an original, and reports whether more sizes are likely: if it is not the
// first job of its original, or if others follow most first jobs like it.
func (h *history) note(of imagecache.Original, specs []resize.Spec, now time.Time) (likely bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for e := h.recent.Front(); e != nil; e = h.recent.Front() {
		if now.Sub(e.Value.(*firstJob).at) < followWindow && h.recent.Len() < maxRecent {
			break
		}
		delete(h.first, e.Value.(*firstJob).of)
		h.recent.Remove(e)
	}
	if e := h.first[of]; e != nil {
		if job := e.Value.(*firstJob); !job.followed {
			job.followed = true
			h.shareLocked(job.profile).followed++
		}
		return true
	}
	job := &firstJob{of: of, profile: h.profileLocked(of.Source, specs), at: now}
	if h.first == nil {
		h.first = make(map[imagecache.Original]*list.Element)
	}
	h.first[of] = h.recent.PushBack(job)
	s := h.shareLocked(job.profile)
	likely = s.jobs >= minJobs && s.followed >= likelyShare*s.jobs
	if s.jobs++; s.jobs >= shareWindow {
		s.jobs, s.followed = s.jobs/2, s.followed/2
	}
	return likely
}

func (h *history) profileLocked(source string, specs []resize.Spec) profile {
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name()
	}
	slices.Sort(names)
	p := profile{source, strings.Join(names, " ")}
	if _, known := h.profiles[p]; !known && len(h.profiles) >= maxProfiles {
		p.specs = ""
	}
	return p
}

func (h *history) shareLocked(p profile) *share {
	if h.profiles == nil {
		h.profiles = make(map[profile]*share)
	}
	s := h.profiles[p]
	if s == nil {
		s = new(share)
		h.profiles[p] = s
	}
	return s
}
