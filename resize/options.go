package resize

// Option documents one group of options of a shape: those that exclude each other. Options returns
// all of them, and docs/urls/README.md is made from that.
type Option struct {
	Name     string   // of the group
	Words    []string // every spelling, or one of each form if an option contains numbers
	Pattern  string   // regular expression of all spellings
	Meaning  string
	Default  string   // what happens without it
	Limit    string   // "" means no limit
	Goes     string   // the options that it can be combined with; "" is all of them
	Examples []string // names of Specs, as [ParseSpecName] parses them
}

// Options returns the options of a shape in their canonical order.
func Options() []Option {
	return []Option{{
		Name: "size", Words: []string{"640x480", "640x", "x480"}, Pattern: `[0-9]+x[0-9]*|x[0-9]+`,
		Meaning: "The box in pixels. A missing side follows the aspect ratio.",
		Default: "required", Limit: "1–8192 each side", Examples: []string{"320x.webp", "x240.webp"},
	}, {
		Name: "fit", Words: []string{"cover", "pad", "exact"}, Pattern: `cover|pad|exact`,
		Meaning: "`cover` fills the box and crops the rest; `pad` fits into the box and adds a border; `exact` distorts.",
		Default: "the largest size that fits into the box", Goes: "a size with both sides",
		Examples: []string{"240x240-cover.webp", "240x240-pad.jpg", "240x240-exact.webp"},
	}, {
		Name: "gravity", Words: []string{"smart", "face", "top", "bottom", "left", "right", "at30x70"},
		Pattern: `smart|face|top|bottom|left|right|at[0-9]+x[0-9]+`,
		Meaning: "The part that `cover` keeps: the most salient one, faces (else as `smart`), a side, or around a focal " +
			"point in percent from left and top.",
		Default: "the centre, which is `at50x50` and never written", Limit: "0–100 each", Goes: "`cover`",
		Examples: []string{"240x240-cover-smart.webp", "240x240-cover-left.webp", "240x240-cover-at90x50.webp"},
	}, {
		Name: "up", Words: []string{"up"}, Pattern: `up`,
		Meaning:  "Enlarges images that are smaller than the box.",
		Default:  "nothing is enlarged; `cover` then gives the largest crop of the box's ratio",
		Examples: []string{"1200x-up.webp"},
	}, {
		Name: "crop", Words: []string{"crop100x50x800x900"}, Pattern: `crop[0-9]+x[0-9]+x[0-9]+x[0-9]+`,
		Meaning: "The part of the upright original that is used: left, top, width, height in thousandths of its sides, " +
			"such as a crop that a user chose.",
		Default: "all of it", Limit: "left + width and top + height at most 1000",
		Examples: []string{"320x-crop550x200x400x500.webp"},
	}, {
		Name: "trim", Words: []string{"trim"}, Pattern: `trim`,
		Meaning: "Cuts away a uniform border.", Default: "off", Examples: []string{"320x-trim.webp"},
	}, {
		Name: "rotation", Words: []string{"rot90", "rot180", "rot270"}, Pattern: `rot(90|180|270)`,
		Meaning: "Turns clockwise, after the EXIF orientation, which is always applied.", Default: "none",
		Examples: []string{"x240-rot90.webp"},
	}, {
		Name: "mirror", Words: []string{"flip", "flop"}, Pattern: `flip|flop`,
		Meaning: "`flip` swaps top and bottom, `flop` left and right.", Default: "none",
		Examples: []string{"320x-flop.webp"},
	}, {
		Name: "gray", Words: []string{"gray"}, Pattern: `gray`, Meaning: "Greyscale.", Default: "off",
		Examples: []string{"320x-gray.webp"},
	}, {
		Name: "blur", Words: []string{"blur5"}, Pattern: `blur[0-9]+`,
		Meaning: "Gaussian blur; the number is its sigma in pixels of the result.", Default: "off", Limit: "1–100",
		Examples: []string{"320x-blur8.webp"},
	}, {
		Name: "sharp", Words: []string{"sharp"}, Pattern: `sharp`, Meaning: "Sharpens after resizing.", Default: "off",
		Examples: []string{"320x-sharp.webp"},
	}, {
		Name: "background", Words: []string{"bg1a2b3c"}, Pattern: `bg[0-9a-f]{6}`,
		Meaning: "Colour of the border of `pad` and of transparent pixels.",
		Default: "white (`bgffffff`, never written)",
		Limit:   "six hexadecimal digits, lower case", Goes: "`pad`, `jpg` or `auto`",
		Examples: []string{"240x240-pad-bg203050.jpg"},
	}, {
		Name: "watermark", Words: []string{"wm.logo"}, Pattern: `wm\.[a-z0-9]{1,16}`,
		Meaning: "A watermark of the configuration (`--watermark logo=FILE`), in the lower right corner.",
		Default: "none", Limit: "a name has 1–16 of `a-z0-9`", Examples: []string{"320x-wm.logo.webp"},
	}, {
		Name: "frames", Words: []string{"still"}, Pattern: `still`, Meaning: "The first frame of an animation.",
		Default: "animations stay animations in `gif`, `webp` and `auto`; all other formats give the first frame",
		Goes:    "`gif`, `webp`, `auto`", Examples: []string{"320x-still.webp"},
	}, {
		Name: "metadata", Words: []string{"credit"}, Pattern: `credit`, Meaning: "Keeps copyright and author.",
		Default: "all metadata is removed; GPS always is", Examples: []string{"320x-credit.jpg"},
	}, {
		Name: "colour", Words: []string{"p3"}, Pattern: `p3`, Meaning: "Display P3 with a profile of 492 bytes.",
		Default: "sRGB without a profile", Examples: []string{"320x-p3.jpg"},
	}, {
		Name: "quality", Words: []string{"q75"}, Pattern: `q[0-9]+`, Meaning: "Quality of the encoder.",
		Default: "that of the format; it is never written, except with `auto`", Limit: "1–100",
		Goes: "all formats except `png` and `gif`", Examples: []string{"320x-q20.webp"},
	}}
}
