package warmer

import (
	"fmt"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

// Mode selects the Specs of a profile that are made early.
type Mode uint8

const (
	Adaptive Mode = iota // those that will probably be requested
	All
	None
)

// ParseMode reads adaptive, all or none.
func ParseMode(text string) (Mode, error) {
	for m, name := range []string{"adaptive", "all", "none"} {
		if text == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("%q: want adaptive, all or none", text)
}

// Specs returns the Specs of a profile to make early for an image; every Spec if all is true. ok is
// false if there is no such profile.
func (w *Watch) Specs(image profile.Image, name string, reach Reach, all bool) (specs []resize.Spec, ok bool) {
	p, ok := w.cfg.Profiles.Get(name)
	switch {
	case !ok:
		return nil, false
	case all || w.cfg.Mode == All:
		return p.Specs(), true
	case w.cfg.Mode == None:
		return nil, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.profile(name)
	if l == nil { // removed meanwhile
		return nil, false
	}
	return l.plan(reach, lotOf(image), w.cfg.Budget), true
}

// lotOf returns a number for an image from 0 to below 1, the same in every process and on every
// node. Specs that fit the budget for only a share of images are made for those below that share.
func lotOf(image profile.Image) float64 {
	const golden = 0x9E3779B97F4A7C15 // spreads the hashes of names that differ by a digit
	hash := imagecache.Original{Source: image.Source, Name: image.Name}.Hash() * golden
	return float64(hash>>11) / (1 << 53)
}

// profile returns the statistics of a profile; nil if there is no such profile.
func (w *Watch) profile(name string) *learnt {
	l := w.profiles[name]
	if l == nil {
		p, ok := w.cfg.Profiles.Get(name)
		if !ok {
			return nil
		}
		l = newLearnt(p.Specs())
		for _, spec := range l.specs {
			l.asked = append(l.asked, (*w.bySpec.Load())[spec].asked)
		}
		w.profiles[name] = l
	}
	return l
}

// facts is the Spec by which a mezzanine is ordered: package fill makes both together.
var facts = resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON}

// Mezzanine reports whether the mezzanine of an announced image should be made early, with its facts.
func (w *Watch) Mezzanine(profileName string, reach Reach) bool {
	if w.cfg.Mode != Adaptive {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.profile(profileName)
	return l != nil && l.mezzanine(reach)
}

// useMezzanine counts the mezzanine of an image as used once any size was made, here or for a client.
func (w *Watch) useMezzanine(one *watched) {
	if one.mezzanine && !one.used && (one.made|one.asked != 0 || one.other) {
		one.used = true
		w.used.add(one.of.costOf(len(one.of.specs)))
	}
}
