// Package profile has the rules that the tier, the gateway and the command line share, so that the
// tier warms exactly the variants whose URLs the gateway signs: named lists of Specs (Set), and the
// mapping from plain URLs to Images (Links). It imports only the grammar of URLs and the standard
// library.
package profile

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/novasocial/imagetier/resize"
)

// Bounds of a Set.
const (
	MaxSpecs    = 64        // of one profile; package warmer keeps sets of Specs as bits of a uint64
	MaxProfiles = 64        // of one Set
	MaxName     = 32        // bytes of a name
	maxFile     = 256 << 10 // bytes of a file of profiles
)

// builtIn are the built-in profiles: the sizes of a feed image, an avatar and a grid of three columns
// on an iPhone of 440 points, at @1x, @2x and @3x.
var builtIn = map[string][]string{
	"feed":   {"440x", "880x", "1320x"},
	"avatar": {"32x32-cover", "64x64-cover", "96x96-cover"},
	"grid":   {"146x146-cover", "292x292-cover", "438x438-cover"},
}

// A Profile is a named list of distinct, concrete Specs.
type Profile struct {
	name  string
	specs []resize.Spec
}

// Name returns the name: 1-32 characters of a-z 0-9 - _, the first a letter.
func (p Profile) Name() string { return p.name }

// Specs returns the 1-64 Specs in the order of the list.
func (p Profile) Specs() []resize.Spec { return slices.Clone(p.specs) }

// Formats returns the formats that the profile has, in the order of their first Specs.
func (p Profile) Formats() []resize.Format {
	var formats []resize.Format
	for _, spec := range p.specs {
		if !slices.Contains(formats, spec.Format) {
			formats = append(formats, spec.Format)
		}
	}
	return formats
}

// At returns the Spec for a screen scale (1 for @1x, 2, 3) and a format. The Specs of a format are
// listed in the order of scales, from @1x on; the last one is for all larger scales, and a scale
// below 1 counts as 1. ok is false if the profile has no Spec in that format.
func (p Profile) At(scale int, format resize.Format) (spec resize.Spec, ok bool) {
	at := 1
	for _, listed := range p.specs {
		if listed.Format != format {
			continue
		}
		spec, ok = listed, true
		if at >= scale {
			break
		}
		at++
	}
	return spec, ok
}

// Set maps names to profiles. BuiltIn, New and Load return one. It is safe for concurrent use.
type Set struct {
	mu     sync.RWMutex
	byName map[string]Profile // guarded by mu; the map is never changed
}

func (s *Set) load() map[string]Profile {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName
}

// Replace replaces all profiles at once by those of other.
func (s *Set) Replace(other *Set) {
	byName := other.load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName = byName
}

// BuiltIn returns the built-in profiles feed, avatar and grid, each in WebP and JPEG at three
// scales.
func BuiltIn() *Set {
	set, err := New(nil)
	if err != nil {
		panic(err) // TestBuiltInProfiles
	}
	return set
}

// New returns the built-in profiles and those of lists, which replace built-in ones of the same name.
// Lists contain Specs as in URLs, shape and format: "640x640-cover-q70.webp". The format auto and the
// shapes orig and info are not allowed. The error joins all faults.
func New(lists map[string][]string) (*Set, error) {
	byName := make(map[string]Profile)
	var faults []error
	for name, shapes := range builtIn {
		var list []string
		for _, format := range []string{".webp", ".jpg"} {
			for _, shape := range shapes {
				list = append(list, shape+format)
			}
		}
		p, err := parse(name, list)
		byName[name] = p
		faults = append(faults, err)
	}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		p, err := parse(name, lists[name])
		byName[name] = p
		faults = append(faults, err)
	}
	if len(byName) > MaxProfiles {
		faults = append(faults, fmt.Errorf("%d profiles, at most %d", len(byName), MaxProfiles))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Set{byName: byName}, nil
}

// Load calls New with a YAML file of profiles, a mapping from names to lists. unmarshal is
// yaml.Unmarshal, which this package does not import itself. An empty path returns the built-in
// profiles.
func Load(path string, unmarshal func(text []byte, into any) error) (*Set, error) {
	if path == "" {
		return BuiltIn(), nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("profiles %s: %d bytes, at most %d", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	var lists map[string][]string
	if err := unmarshal(text, &lists); err != nil {
		return nil, fmt.Errorf("profiles %s: %w", path, err)
	}
	set, err := New(lists)
	if err != nil {
		return nil, fmt.Errorf("profiles %s: %w", path, err)
	}
	return set, nil
}

// Get returns the profile with that name.
func (s *Set) Get(name string) (Profile, bool) {
	p, ok := s.load()[name]
	return p, ok
}

// Names returns the names of all profiles, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.load())) }

func parse(name string, list []string) (Profile, error) {
	if !validName(name) {
		return Profile{}, fmt.Errorf("profile %q: a name is a letter a-z, then up to %d of a-z 0-9 - _", name, MaxName-1)
	}
	if len(list) < 1 || len(list) > MaxSpecs {
		return Profile{}, fmt.Errorf("profile %s: it lists %d Specs, not 1-%d", name, len(list), MaxSpecs)
	}
	p := Profile{name: name}
	var faults []error
	for i, item := range list {
		spec, err := parseSpec(item)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("profile %s[%d] %q: %w", name, i, item, err))
		case slices.Contains(p.specs, spec):
			faults = append(faults, fmt.Errorf("profile %s[%d] %q: this Spec is listed twice", name, i, item))
		default:
			p.specs = append(p.specs, spec)
		}
	}
	return p, errors.Join(faults...)
}

func parseSpec(item string) (resize.Spec, error) {
	shape, format, ok := strings.Cut(item, ".")
	// The last dot begins the format: an option can contain one too (wm.logo).
	if at := strings.LastIndexByte(item, '.'); ok {
		shape, format = item[:at], item[at+1:]
	}
	spec, err := resize.ParseSpec(shape, format)
	if err != nil {
		return resize.Spec{}, err
	}
	if !spec.Format.Concrete() {
		return resize.Spec{}, fmt.Errorf("orig, info and auto are not allowed in a profile")
	}
	return spec, nil
}

func validName(name string) bool {
	if len(name) < 1 || len(name) > MaxName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}
