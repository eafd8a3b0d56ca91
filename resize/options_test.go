package resize

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// The table has every group of the grammar, in order, and each of its words parses as that group.
func TestOptions_AreTheGrammar(t *testing.T) {
	options := Options()
	if len(options) != int(groupQuality)+1 {
		t.Fatalf("%d options, and the grammar has %d groups", len(options), groupQuality+1)
	}
	for i, o := range options {
		pattern := regexp.MustCompile(`^(?:` + o.Pattern + `)$`)
		if len(o.Words) == 0 || o.Meaning == "" || o.Default == "" || len(o.Examples) == 0 {
			t.Errorf("%s: %+v lacks something", o.Name, o)
		}
		for _, word := range o.Words {
			g, problem, err := parseOption(new(Spec), word)
			if g != group(i) || problem != "" || err != nil || !pattern.MatchString(word) {
				t.Errorf("%s: %s is of group %d, want %d; %s %v", o.Name, word, g, i, problem, err)
			}
		}
		for _, example := range o.Examples {
			s, err := ParseSpecName(example)
			if err != nil {
				t.Errorf("%s: %v", o.Name, err)
			}
			used := false
			for option := range strings.SplitSeq(s.String(), "-") {
				used = used || pattern.MatchString(option)
			}
			if !used {
				t.Errorf("%s: %s does not use it", o.Name, example)
			}
		}
	}
}

// Every option that the grammar writes is in the table: the options of random Specs match the patterns in
// order.
func TestOptions_KnowAllSpellings(t *testing.T) {
	var all strings.Builder
	for i, o := range Options() {
		if i == 0 {
			all.WriteString(`^(?:` + o.Pattern + `)`)
		} else {
			all.WriteString(`(?:-(?:` + o.Pattern + `))?`)
		}
	}
	shape := regexp.MustCompile(all.String() + `$`)
	r := rand.New(rand.NewPCG(1, 2))
	coin := func() bool { return r.IntN(2) == 0 }
	for range 20_000 {
		s := Spec{
			Width: 1 + r.IntN(MaxBox), Height: 1 + r.IntN(MaxBox), Fit: Fit(r.IntN(4)), Gravity: Gravity(r.IntN(8)),
			Up: coin(), Trim: coin(), Rotate: 90 * r.IntN(4), Mirror: Mirror(r.IntN(3)), Gray: coin(),
			Blur: uint8(r.IntN(101)), Sharp: coin(), Background: RGB(uint8(r.IntN(256)), 0, 0), Still: coin(),
			Credit: coin(), P3: coin(), Quality: r.IntN(101), Format: JPEG + Format(r.IntN(8)),
		}
		if s.Gravity == GravityAt {
			s.FocusX, s.FocusY = uint8(r.IntN(101)), uint8(r.IntN(101))
		}
		if coin() {
			s.Crop = Crop{Left: uint16(r.IntN(500)), Width: uint16(1 + r.IntN(500)), Height: 1 + uint16(r.IntN(1000))}
		}
		if coin() {
			s.Watermark = "logo1"
		}
		if s, _ = s.normalize(); s.Check() != nil {
			t.Fatalf("%v: %v", s, s.Check())
		}
		if !shape.MatchString(s.String()) {
			t.Fatalf("Options does not know %s", s)
		}
	}
}
