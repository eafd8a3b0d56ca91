package warmer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/events"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// Job is an entry of the queue: images to purge, and then images to warm.
type Job struct {
	// Gone are tags of which all originals are purged; the tags are forgotten.
	Gone []string `json:"gone,omitempty"`
	// Stale are tags of which the originals that are requested as live are purged.
	Stale  []string  `json:"stale,omitempty"`
	Purges []Purge   `json:"purge,omitempty"`
	Warms  []Warm    `json:"warm,omitempty"`
	Refs   []RefText `json:"refs,omitempty"` // variants to warm
}

// Purge is an original to purge with all its variants.
type Purge struct {
	Source string `json:"source"`
	Name   []byte `json:"name"` // base64, since names can have any bytes
}

// PurgeOf returns the Purge of an original.
func PurgeOf(of imagecache.Original) Purge { return Purge{of.Source, []byte(of.Name)} }

// Original returns the original to purge.
func (p Purge) Original() imagecache.Original {
	return imagecache.Original{Source: p.Source, Name: string(p.Name)}
}

// Warm is an image whose profile says which variants are warmed.
type Warm struct {
	Image   profile.Image `json:"image"`
	AskTag  bool          `json:"ask_tag,omitempty"` // the version is the entity tag at the origin
	Profile string        `json:"profile"`
	Crop    resize.Crop   `json:"crop,omitzero"` // of all its variants
	Reach   Reach         `json:"reach,omitempty"`
	All     bool          `json:"all,omitempty"`  // all Specs of the profile, not only those that the Planner selects
	Tags    []string      `json:"tags,omitempty"` // if one of them has been deleted since, the image is not warmed
}

// RefText is a Ref whose JSON is its String.
type RefText struct{ imageurl.Ref }

// MarshalJSON writes the Ref's String.
func (r RefText) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (r *RefText) UnmarshalJSON(text []byte) (err error) {
	var spelled string
	if err := json.Unmarshal(text, &spelled); err != nil {
		return err
	}
	r.Ref, err = imageurl.ParseRef(spelled)
	return err
}

// Priorities of jobs, in the order in which they are taken.
const (
	First  = 0
	Second = 1
	Third  = 2
)

// Minimum audiences of posts for the first two priorities.
const (
	LargeAudience = 10_000
	SomeAudience  = 100
)

// Message is a Job for the queue.
type Message struct {
	Priority int
	Data     []byte // JSON
}

// perJob is the number of images in one message. All of them are retried if one fails.
const perJob = 10

// Tagged is an original with a tag ("post:p1", "user:u1").
type Tagged struct {
	Tag string
	Of  imagecache.Original
	// Live means that the live version is requested, so it must be purged when it changes.
	Live bool
}

// Plan is what to do about an event.
type Plan struct {
	Learn    []Tagged // tags of originals
	End      []string // tags of deleted posts and users
	Messages []Message
}

// PlanEvent returns the Plan for an event. It does not contain the paths of a page, which are made at once; of
// the posts of such a page only the tags are learned.
func PlanEvent(e events.Event) (Plan, error) {
	p := planning{exact: len(e.Paths) > 0, purges: e.Type == events.PostUpdated}
	switch e.Type {
	case events.PostDeleted:
		job := Job{}
		for _, post := range e.Posts {
			p.End = append(p.End, "post:"+post.ID)
			job.Gone = append(job.Gone, "post:"+post.ID)
			if post.Image != nil {
				job.Purges = append(job.Purges, PurgeOf(originalOf(post.Image.Image)))
			}
		}
		err := p.put(First, job)
		return p.Plan, err
	case events.UserUpdated:
		job := Job{Stale: []string{"user:" + e.User.ID}} // pinned versions never change
		if e.User.Avatar != nil {
			p.learn(*e.User.Avatar)
			job.Purges = liveOf(*e.User.Avatar)
			job.Warms = []Warm{warmOf(*e.User.Avatar, events.Avatar, Unsaid)}
		}
		err := p.put(First, job)
		return p.Plan, err
	}
	// The most urgent post of several with the same image counts.
	posts := slices.SortedStableFunc(slices.Values(e.Posts), func(a, b events.Post) int {
		return cmp.Compare(priorityOf(e.Type, a.Audience), priorityOf(e.Type, b.Audience))
	})
	for _, post := range posts {
		priority, reach := priorityOf(e.Type, post.Audience), ReachOf(post.Audience)
		if e.Type == events.FeedPage {
			reach = OnPage
		}
		if e.Type == events.PostUpdated {
			p.jobs[priority].Stale = append(p.jobs[priority].Stale, "post:"+post.ID)
		}
		if img := post.Image; img != nil {
			p.learn(*img)
			if e.Type == events.PostUpdated {
				p.jobs[priority].Purges = append(p.jobs[priority].Purges, liveOf(*img)...)
			}
			if err := p.warm(priority, warmOf(*img, e.Profile, reach)); err != nil {
				return Plan{}, err
			}
		}
		if a := post.Author; a != nil && a.Avatar != nil {
			p.learn(*a.Avatar)
			if err := p.warm(priority, warmOf(*a.Avatar, events.Avatar, reach)); err != nil {
				return Plan{}, err
			}
		}
	}
	err := p.flush()
	return p.Plan, err
}

// Requested returns how an image is warmed on request: in all Specs of the profile.
func Requested(img events.Image, profileName string) Warm {
	w := warmOf(img, profileName, Unsaid)
	w.All = true
	return w
}

// PlanImages returns the plan for warming images on request.
func PlanImages(profileName string, images []events.Image, refs []imageurl.Ref) (Plan, error) {
	var p planning
	for _, img := range images {
		p.learn(img)
		if err := p.warm(Second, Requested(img, profileName)); err != nil {
			return Plan{}, err
		}
	}
	for chunk := range slices.Chunk(refs, perJob) {
		job := Job{}
		for _, ref := range chunk {
			job.Refs = append(job.Refs, RefText{ref})
		}
		if err := p.put(Second, job); err != nil {
			return Plan{}, err
		}
	}
	err := p.flush()
	return p.Plan, err
}

// planning is an unfinished Plan, with jobs that are not full.
type planning struct {
	Plan
	jobs   [3]Job
	full   [3]int // jobs of each priority that are full, and in messages
	exact  bool   // nothing is made for the images of the event
	purges bool   // each job purges images before it warms them, also those that an earlier one has warmed
	// seen has the images in the plan, because many posts can have the same avatar. With purges it
	// has them by job.
	seen map[string]bool
}

func (p *planning) learn(img events.Image) { p.Learn = append(p.Learn, TagsOf(img)...) }

// TagsOf returns the tags of an image.
func TagsOf(img events.Image) (tags []Tagged) {
	for _, tag := range img.Tags {
		tags = append(tags, Tagged{Tag: tag, Of: originalOf(img.Image), Live: img.Version.Pin() == imageurl.Live})
	}
	return tags
}

func (p *planning) warm(priority int, w Warm) error {
	key := fmt.Sprint(w.Profile, w.Crop, " ", w.Image)
	if p.purges {
		key = fmt.Sprint(priority, " ", p.full[priority], " ", key)
	}
	if p.exact || p.seen[key] {
		return nil
	}
	if p.seen == nil {
		p.seen = make(map[string]bool)
	}
	p.seen[key] = true
	job := &p.jobs[priority]
	job.Warms = append(job.Warms, w)
	if len(job.Warms) < perJob {
		return nil
	}
	full := *job
	*job = Job{}
	p.full[priority]++
	return p.put(priority, full)
}

func (p *planning) put(priority int, job Job) error {
	data, err := json.Marshal(job)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	p.Messages = append(p.Messages, Message{priority, data})
	return nil
}

func (p *planning) flush() error {
	for priority, job := range p.jobs {
		if len(job.Warms)+len(job.Purges)+len(job.Stale) > 0 {
			if err := p.put(priority, job); err != nil {
				return err
			}
		}
	}
	return nil
}

func priorityOf(kind string, audience int) int {
	switch {
	case kind == events.FeedPage:
		// The viewer of a page requests its images at once and is served live; a post is warmed
		// for all later viewers, and there are many pages for each post.
		return Third
	case audience >= LargeAudience:
		return First
	case audience >= SomeAudience:
		return Second
	}
	return Third
}

func warmOf(img events.Image, profileName string, reach Reach) Warm {
	return Warm{
		Image: img.Image, AskTag: img.AskTag, Profile: profileName, Crop: img.Crop, Reach: reach, Tags: img.Tags,
	}
}

// liveOf returns the purge of an image that may have changed: one that is live, or whose tag is not
// known. Pinned images never change.
func liveOf(img events.Image) []Purge {
	if img.Version.Pin() != imageurl.Live {
		return nil
	}
	return []Purge{PurgeOf(originalOf(img.Image))}
}

func originalOf(img profile.Image) imagecache.Original {
	return imagecache.Original{Source: img.Source, Name: img.Name}
}

// String describes a job for the log.
func (j Job) String() string {
	var words []string
	for _, tag := range slices.Concat(j.Gone, j.Stale) {
		words = append(words, "purge "+tag)
	}
	for _, p := range j.Purges {
		words = append(words, fmt.Sprintf("purge %s %s", p.Source, p.Name))
	}
	for _, w := range j.Warms {
		words = append(words, fmt.Sprintf("%s %s", w.Profile, w.Image))
	}
	for _, r := range j.Refs {
		words = append(words, r.String())
	}
	return strings.Join(words, ", ")
}
