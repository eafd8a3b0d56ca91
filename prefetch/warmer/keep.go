package warmer

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// kept is the JSON of the statistics of a Watch. Specs are written as Spec.Name, so that statistics of a Spec
// survive a change of its profile.
type kept struct {
	Format   int                    `json:"format"`
	Asked    map[string]int64       `json:"asked"` // requests by Spec
	Profiles map[string]keptProfile `json:"profiles"`
}

type keptProfile struct {
	Announced bool                 `json:"told"`
	Paged     int                  `json:"paged"`
	By        map[string]keptReach `json:"by"`    // Reach.String
	Costs     map[string]keptCost  `json:"costs"` // by Spec; that of the mezzanine has its facts' name
}

type keptReach struct {
	Seen    int                `json:"seen"`
	Asked   map[string]float64 `json:"asked"` // share by Spec, 0 to 1
	First   map[string]float64 `json:"first"` // share by Spec of the first request
	Several float64            `json:"several"`
}

type keptCost struct {
	Seen  int     `json:"seen"`
	CPU   float64 `json:"cpu_ms"`
	Bytes float64 `json:"bytes"`
}

// keptFormat is the version of this format; others are not read.
const keptFormat = 1

// String returns unsaid, page, or the least audience.
func (r Reach) String() string {
	switch r {
	case Unsaid:
		return "unsaid"
	case OnPage:
		return "page"
	}
	return strconv.Itoa(int(math.Pow10(int(r - fewest))))
}

// Learnt returns the statistics of the Watch for Recall, some kilobytes of JSON. It does not contain
// the images that are watched now.
func (w *Watch) Learnt() ([]byte, error) {
	k := kept{Format: keptFormat, Asked: make(map[string]int64), Profiles: make(map[string]keptProfile)}
	for spec, in := range *w.bySpec.Load() {
		k.Asked[spec.Name()] = in.asked.Load()
	}
	w.mu.Lock()
	w.endOld(w.cfg.Now())
	for name, l := range w.profiles {
		p := keptProfile{
			Announced: l.announced, Paged: l.paged, By: make(map[string]keptReach), Costs: make(map[string]keptCost),
		}
		for i, c := range l.costs {
			if c.seen > 0 {
				p.Costs[l.nameOf(i)] = keptCost{c.seen, c.cpu / 1e6, c.bytes}
			}
		}
		for r := range Reach(reaches) {
			s := &l.by[r]
			if s.seen == 0 {
				continue
			}
			one := keptReach{s.seen, make(map[string]float64), make(map[string]float64), s.several}
			for i, share := range s.asked {
				one.Asked[l.specs[i].Name()], one.First[l.specs[i].Name()] = share, s.first[i]
			}
			p.By[r.String()] = one
		}
		k.Profiles[name] = p
	}
	w.mu.Unlock()
	text, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode prefetch statistics: %w", err)
	}
	return text, nil
}

// Recall replaces the statistics by those of another Watch. Removed profiles and Specs are ignored.
// If a profile has a new Spec, the statistics of its images start empty, so that the new Spec is
// made too. In case of an error nothing is replaced.
func (w *Watch) Recall(text []byte) error {
	var k kept
	if err := json.Unmarshal(text, &k); err != nil {
		return fmt.Errorf("read prefetch statistics: %w", err)
	}
	if k.Format != keptFormat {
		return fmt.Errorf("read prefetch statistics: format %d, want %d", k.Format, keptFormat)
	}
	if err := k.check(); err != nil {
		return fmt.Errorf("read prefetch statistics: %w", err)
	}
	for spec, in := range *w.bySpec.Load() {
		in.asked.Store(k.Asked[spec.Name()])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, was := range k.Profiles {
		l := w.profile(name)
		if l == nil {
			continue
		}
		l.announced, l.paged = was.Announced, was.Paged
		for r := range Reach(reaches) {
			l.recall(r, was.By[r.String()])
		}
		for i := range l.costs {
			c := was.Costs[l.nameOf(i)]
			l.costs[i] = costs{c.Seen, c.CPU * 1e6, c.Bytes}
		}
	}
	return nil
}

func (l *learnt) recall(r Reach, was keptReach) {
	asked, first := make([]float64, len(l.specs)), make([]float64, len(l.specs))
	for i, spec := range l.specs {
		share, ok := was.Asked[spec.Name()]
		if !ok {
			return
		}
		asked[i], first[i] = share, was.First[spec.Name()]
	}
	l.by[r] = shares{seen: was.Seen, asked: asked, first: first, several: was.Several}
}

// nameOf returns the name of a Spec in Learnt; i may be the index of the mezzanine.
func (l *learnt) nameOf(i int) string {
	if i == len(l.specs) {
		return facts.Name()
	}
	return l.specs[i].Name()
}

// check returns an error for numbers that no Watch writes.
func (k *kept) check() error {
	for name, n := range k.Asked {
		if n < 0 {
			return fmt.Errorf("%s was requested %d times", name, n)
		}
	}
	for name, p := range k.Profiles {
		for spec, c := range p.Costs {
			if c.Seen <= 0 || c.CPU < 0 || c.Bytes < 0 {
				return fmt.Errorf("profile %s: %s costs %v ms and %v bytes, of %d", name, spec, c.CPU, c.Bytes, c.Seen)
			}
		}
		for reach, s := range p.By {
			for spec, share := range s.Asked {
				if s.Seen <= 0 || share < 0 || share > 1 {
					return fmt.Errorf("profile %s, %s: a share of %v of %d images for %s",
						name, reach, share, s.Seen, spec)
				}
			}
		}
	}
	return nil
}
