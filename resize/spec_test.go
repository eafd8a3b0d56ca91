package resize

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseSpecName_RoundTrip(t *testing.T) {
	for _, name := range []string{
		"640x480.jpg", "640x.webp", "x480.avif", "1x1.png", "8192x8192.gif",
		"640x480.heic", "640x480.jxl", "640x480.auto",
		"640x480-cover.jpg", "640x480-pad.jpg", "640x480-exact.jpg",
		"640x480-cover-smart.jpg", "640x480-cover-face.jpg", "640x480-cover-top.jpg", "640x480-cover-bottom.jpg",
		"640x480-cover-left.jpg", "640x480-cover-right.jpg", "640x480-cover-at30x70.jpg", "640x480-cover-at0x0.jpg",
		"640x480-cover-at100x100.jpg", "640x480-cover-at50x51.jpg",
		"640x-up.jpg", "640x-crop100x50x800x900.jpg", "640x-crop0x0x1x1000.jpg", "640x-crop999x999x1x1.jpg",
		"640x-trim.jpg", "640x-rot90.jpg", "640x-rot180.jpg",
		"640x-rot270.jpg", "640x-flip.jpg", "640x-flop.jpg",
		"640x-gray.jpg", "640x-blur1.jpg", "640x-blur100.jpg", "640x-sharp.jpg",
		"640x-bg000000.jpg", "640x480-pad-bg1a2b3c.png", "640x-bgfffffe.auto",
		"640x-wm.logo.jpg", "640x-wm.0123456789abcdef.jpg", "640x-still.gif", "640x-still.webp", "640x-still.auto",
		"640x-credit.jpg", "640x-p3.jpg", "640x-q1.jpg", "640x-q100.webp",
		"640x-q80.auto", "640x-q55.auto", "640x-q80.webp",
		"8192x8192-cover-at100x100-up-crop100x100x900x900-trim-rot270-flip-gray-blur100-sharp-bg000000-wm.0123456789abcdef-still-credit-p3-q100.auto",
		"orig", "info.json",
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSpecName(name)
			if err != nil {
				t.Error(err)
				return
			}
			if got := s.Name(); got != name {
				t.Errorf("%s is written %s", name, got)
			}
			if err := s.Check(); err != nil {
				t.Errorf("Check: %v", err)
			}
		})
	}
}

func TestParseSpec_SpellingError_NamesCanonicalShape(t *testing.T) {
	for _, c := range []struct{ shape, format, canonical, reason string }{
		{"640x480-up-cover", "jpg", "640x480-cover-up", "the order is"},
		{"cover-640x480", "jpg", "640x480-cover", "the order is"},
		{"640x480-q70-cover", "webp", "640x480-cover-q70", "the order is"},
		{"640x480-flip-rot90", "webp", "640x480-rot90-flip", "the order is"},
		{"640x480-inside", "jpg", "640x480", "inside is the default"},
		{"640x480-cover-centre", "jpg", "640x480-cover", "centre is the default"},
		{"640x480-cover-center", "jpg", "640x480-cover", "center is the default"},
		{"640x480-cover-at50x50", "jpg", "640x480-cover", "at50x50 is the default"},
		{"640x480-rot0", "jpg", "640x480", "rot0 is the default"},
		{"640x480-blur0", "jpg", "640x480", "blur0 is the default"},
		{"640x480-bgffffff", "jpg", "640x480", "bgffffff is the default"},
		{"640x480-bgfff", "jpg", "640x480", "bgffffff is the default"},
		{"640x480-bg123", "jpg", "640x480-bg112233", "six hex digits"},
		{"640x480-bg1A2B3C", "jpg", "640x480-bg1a2b3c", "lower case"},
		{"640X480", "jpg", "640x480", "lower case"},
		{"640x480-COVER", "jpg", "640x480-cover", "lower case"},
		{"640x480-wm.Logo", "jpg", "640x480-wm.logo", "lower case"},
		{"0640x480", "jpg", "640x480", "leading zeros"},
		{"640x0480", "jpg", "640x480", "leading zeros"},
		{"640x480-q070", "jpg", "640x480-q70", "leading zeros"},
		{"640x480-blur05", "jpg", "640x480-blur5", "leading zeros"},
		{"640x480-cover-at07x5", "jpg", "640x480-cover-at7x5", "leading zeros"},
		{"640x0", "jpg", "640x", "left out"},
		{"0x480", "jpg", "x480", "left out"},
		{"640x480-q80", "jpg", "640x480", "default of jpg"},
		{"640x480-q75", "webp", "640x480", "default of webp"},
		{"640x480-q55", "avif", "640x480", "default of avif"},
		{"640x480-q60", "heic", "640x480", "default of heic"},
		{"640x480-q75", "jxl", "640x480", "default of jxl"},
		{"640x480-q75", "png", "640x480", "no quality"},
		{"640x480-q75", "gif", "640x480", "no quality"},
		{"640x480-smart", "jpg", "640x480", "with cover only"},
		{"640x480-pad-top", "jpg", "640x480-pad", "with cover only"},
		{"640x480-at30x70", "jpg", "640x480", "with cover only"},
		{"640x480-bg000000", "webp", "640x480", "pad, jpg or auto"},
		{"640x480-still", "jpg", "640x480", "gif, webp or auto"},
		{"640x480-still", "avif", "640x480", "gif, webp or auto"},
		{"640x480--cover", "jpg", "640x480-cover", "empty option"},
		{"640x480-", "jpg", "640x480", "empty option"},
		{"640x480-cover-cover", "jpg", "640x480-cover", "twice"},
	} {
		t.Run(c.shape+"."+c.format, func(t *testing.T) {
			_, err := ParseSpec(c.shape, c.format)
			var spelling *SpellingError
			if !errors.As(err, &spelling) || !errors.Is(err, ErrSpec) {
				t.Errorf("error %v, want a SpellingError", err)
				return
			}
			if got := spelling.Canonical.String(); got != c.canonical {
				t.Errorf("canonical %s, want %s", got, c.canonical)
			}
			if text := err.Error(); !strings.Contains(text, `"`+c.canonical+`"`) || !strings.Contains(text, c.reason) {
				t.Errorf("%q does not name %q and say %q", text, c.canonical, c.reason)
			}
			if _, err := ParseSpec(spelling.Canonical.String(), spelling.Canonical.Format.String()); err != nil {
				t.Errorf("the spelling it names is refused: %v", err)
			}
		})
	}
}

func TestParseSpec_SpellingError_NamesCanonicalFormat(t *testing.T) {
	for _, c := range []struct{ shape, format, want string }{
		{"640x", "JPG", `format "JPG" is spelled "jpg"`},
		{"640x", "jpeg", `format "jpeg" is spelled "jpg"`},
		{"640x", "heif", `format "heif" is spelled "heic"`},
		{"640X", "Jpeg", `shape and format "640X.Jpeg" are spelled "640x.jpg"`},
	} {
		t.Run(c.shape+"."+c.format, func(t *testing.T) {
			_, err := ParseSpec(c.shape, c.format)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestParseSpec_Invalid(t *testing.T) {
	for _, c := range []struct{ shape, format, says string }{
		{"", "jpg", "no size"},
		{"cover", "jpg", "no size"},
		{"x", "jpg", `size "x"`},
		{"0x0", "jpg", `size "0x0"`},
		{"640", "jpg", `size "640" has no x`},
		{"8193x1", "jpg", "8192"},
		{"1x8193", "jpg", "8192"},
		{"99999999999999999999x1", "jpg", "8192"},
		{"640x480x", "jpg", `"640x480x"`},
		{"640x-cover", "jpg", "cover needs both sides"},
		{"x480-pad", "jpg", "pad needs both sides"},
		{"640x-exact", "jpg", "exact needs both sides"},
		{"640x480-cover-pad", "jpg", `"pad" contradicts`},
		{"640x480-cover-inside", "jpg", `"inside" contradicts`},
		{"640x480-rot90-rot180", "jpg", `"rot180" contradicts`},
		{"640x480-flip-flop", "jpg", `"flop" contradicts`},
		{"640x480-q70-q71", "jpg", `"q71" contradicts`},
		{"640x480-320x200", "jpg", `"320x200" contradicts`},
		{"640x480-cover-at101x0", "jpg", "percentages"},
		{"640x480-cover-at5", "jpg", "percentages"},
		{"640x480-cover-at5x", "jpg", "percentages"},
		{"640x480-rot45", "jpg", "rot90, rot180 or rot270"},
		{"640x480-rot360", "jpg", "rot90, rot180 or rot270"},
		{"640x480-blur101", "jpg", "1-100"},
		{"640x480-blur", "jpg", "1-100"},
		{"640x480-q0", "jpg", "1-100"},
		{"640x480-q101", "jpg", "1-100"},
		{"640x480-q", "jpg", "1-100"},
		{"640x480-q7.5", "jpg", "1-100"},
		{"640x480-bg12345", "jpg", "six hex digits"},
		{"640x480-bg12345g", "jpg", "six hex digits"},
		{"640x480-wm.", "jpg", "1-16 of a-z0-9"},
		{"640x480-wm.abcdefghijklmnopq", "jpg", "1-16 of a-z0-9"},
		{"640x480-wm.a_b", "jpg", "1-16 of a-z0-9"},
		{"640x480-crop", "jpg", "thousandths"},
		{"640x480-crop1x2x3", "jpg", "thousandths"},
		{"640x480-crop1x2x3x", "jpg", "thousandths"},
		{"640x480-crop1x2x3x4x5", "jpg", "thousandths"},
		{"640x480-crop0x0x1001x5", "jpg", "thousandths"},
		{"640x480-crop500x0x501x5", "jpg", "at most 1000"},
		{"640x480-crop0x999x5x2", "jpg", "at most 1000"},
		{"640x480-crop0x0x0x5", "jpg", "thousandths"},
		{"640x480-crop0x0x5x5-crop0x0x5x6", "jpg", `"crop0x0x5x6" contradicts`},
		{"640x480-croop", "jpg", `no option "croop"`},
		{"640x480-\u212a", "jpg", `no option "\u212a"`},
		{strings.Repeat("cover-", 100) + "640x480", "jpg", "longer than any shape"},
		{"640x480", "", "has no format"},
		{"640x480", "bmp", `format "bmp": want one of`},
		{"640x480", "json", "only info has the format json"},
		{"orig", "jpg", "orig has no format"},
		{"orig-q70", "jpg", `no option "orig"`},
		{"info", "", "format of info is json"},
		{"info", "jpg", "format of info is json"},
	} {
		t.Run(c.shape+"."+c.format, func(t *testing.T) {
			s, err := ParseSpec(c.shape, c.format)
			var spelling *SpellingError
			if err == nil || errors.As(err, &spelling) || !errors.Is(err, ErrSpec) {
				t.Errorf("%v, %v: want an error without a canonical spelling", s, err)
				return
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
		})
	}
}

func TestSpec_Resolve(t *testing.T) {
	for _, c := range []struct {
		auto string
		f    Format
		want string
	}{
		{"640x.auto", JPEG, "640x.jpg"},
		{"640x-q80.auto", JPEG, "640x.jpg"},
		{"640x-q80.auto", WebP, "640x-q80.webp"},
		{"640x-q75.auto", WebP, "640x.webp"},
		{"640x-q55.auto", AVIF, "640x.avif"},
		{"640x-bg000000.auto", JPEG, "640x-bg000000.jpg"},
		{"640x-bg000000.auto", WebP, "640x.webp"},
		{"640x480-pad-bg000000.auto", AVIF, "640x480-pad-bg000000.avif"},
		{"640x-still.auto", WebP, "640x-still.webp"},
		{"640x-still.auto", JPEG, "640x.jpg"},
		{"640x-still.auto", AVIF, "640x.avif"},
		{"640x-q70.png", WebP, ""},
		{"640x.webp", JPEG, "640x.webp"},
		{"orig", JPEG, "orig"},
		{"info.json", JPEG, "info.json"},
	} {
		t.Run(c.auto, func(t *testing.T) {
			s, err := ParseSpecName(c.auto)
			if c.want == "" {
				if err == nil {
					t.Errorf("%s was accepted", c.auto)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := ParseSpecName(c.want)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Resolve(c.f); got != want {
				t.Errorf("%s resolved to %v is %s, want %s", c.auto, c.f, got.Name(), c.want)
			}
		})
	}
}

func TestSpec_Check_AgreesWithParseSpec(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	legal := 0
	for range 200_000 {
		s := randomSpec(r)
		back, err := ParseSpec(s.String(), s.Format.String())
		reads := err == nil && back == s
		if check := s.Check(); (check == nil) != reads {
			t.Fatalf("%+v: Check %v, but ParseSpec(%q, %q) is %+v, %v", s, check, s.String(), s.Format, back, err)
		} else if check == nil {
			legal++
		} else if !errors.Is(check, ErrSpec) {
			t.Fatalf("%v does not wrap ErrSpec", check)
		}
	}
	if legal < 1000 {
		t.Errorf("only %d of the random Specs were legal", legal)
	}
}

// randomSpec makes a Spec that is legal about half of the time.
func randomSpec(r *rand.Rand) Spec {
	rare := func(n int) bool { return r.IntN(n) == 0 }
	s := Spec{
		Format: JPEG + Format(r.IntN(int(JXL))),
		Width:  1 + r.IntN(MaxBox), Height: 1 + r.IntN(MaxBox),
		Up: rare(3), Trim: rare(3), Gray: rare(3), Sharp: rare(3), Credit: rare(3), P3: rare(3),
		Rotate: 90 * r.IntN(4), Mirror: Mirror(r.IntN(3)),
	}
	if rare(3) {
		s.Fit = Fit(r.IntN(4))
	}
	if rare(4) {
		s.Format = Format(r.IntN(int(numFormats) + 1))
	}
	if rare(4) {
		s.Gravity = Gravity(r.IntN(8))
	}
	if s.Gravity == GravityAt && rare(2) || rare(20) {
		s.FocusX, s.FocusY = uint8(r.IntN(103)), uint8(r.IntN(103))
	}
	if s.Gravity == GravityAt && rare(8) {
		s.FocusX, s.FocusY = 50, 50
	}
	if rare(4) {
		n := func() uint16 { return uint16(r.IntN(1005)) }
		s.Crop = Crop{n() / 2, n() / 2, n() / 2, n() / 2}
	}
	if rare(30) {
		s.Crop = Crop{Width: 1000, Height: uint16(999 + r.IntN(3))}
	}
	if rare(6) {
		s.Width = 0
	}
	if rare(6) {
		s.Height = 0
	}
	if rare(50) {
		s.Width = r.IntN(3*MaxBox) - MaxBox
	}
	if rare(4) {
		s.Blur = uint8(r.IntN(103))
	}
	if rare(4) {
		s.Quality = r.IntN(104) - 1
	}
	if rare(20) {
		s.Quality = s.Format.DefaultQuality()
	}
	if rare(6) {
		s.Background = RGB(uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()))
	}
	if rare(6) {
		s.Watermark = []string{"logo", "Logo", "a.b", "0", "x123456789abcdefg"}[r.IntN(5)]
	}
	if rare(6) {
		s.Still = true
	}
	if rare(50) {
		s.Rotate = 45
	}
	if rare(50) {
		s.Mirror = 3
	}
	if rare(30) {
		s.Shape = Shape(r.IntN(4))
	}
	if rare(60) {
		s = Spec{Shape: Shape(r.IntN(4)), Format: Format(r.IntN(int(numFormats)))}
	}
	return s
}

func TestColor_ZeroIsWhite(t *testing.T) {
	if RGB(255, 255, 255) != (Color{}) {
		t.Error("white is not the zero Color")
	}
	if r, g, b := RGB(1, 2, 3).RGB(); r != 1 || g != 2 || b != 3 {
		t.Errorf("RGB(1, 2, 3) is %d, %d, %d", r, g, b)
	}
}

func TestParseSpec_NoAllocations(t *testing.T) {
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := ParseSpec("640x640-cover-at30x70-up-crop100x50x800x900-bg102030-wm.logo-q70", "jpg"); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, seed := range [][2]string{
		{"640x480-cover-at30x70-up-crop100x50x800x900-trim-rot90-flip-gray-blur5-sharp-bg102030-wm.logo-credit-p3-q70", "jpg"},
		{"640X480-q080", "JPEG"}, {"orig", ""}, {"info", "json"}, {"x1-still-q80", "auto"}, {"--", "png"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, shape, format string) {
		s, err := ParseSpec(shape, format)
		if err == nil {
			if s.String() != shape || s.Format.String() != format {
				t.Fatalf("%q.%q was read as %q", shape, format, s.Name())
			}
			if err := s.Check(); err != nil {
				t.Fatalf("%q.%q was read, but: %v", shape, format, err)
			}
			return
		}
		if !errors.Is(err, ErrSpec) {
			t.Fatalf("%v does not wrap ErrSpec", err)
		}
		var spelling *SpellingError
		if errors.As(err, &spelling) {
			c := spelling.Canonical
			if back, err := ParseSpec(c.String(), c.Format.String()); err != nil || back != c {
				t.Fatalf("%q.%q: the canonical spelling %q does not parse: %v", shape, format, c.Name(), err)
			}
		}
	})
}

func BenchmarkParseSpec(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseSpec("640x640-cover-q70", "webp"); err != nil {
			b.Fatal(err)
		}
	}
}
