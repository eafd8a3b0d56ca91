package migrate

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// parseImgproxy reads {signature}/{option}/…/plain/{URL}@{extension} or, instead of plain, the URL in
// base64url, in one or several segments, and .{extension}.
func parseImgproxy(path string) (Image, error) {
	signature, rest, ok := strings.Cut(path, "/")
	if !ok || signature == "" {
		return Image{}, errors.New("want /signature/options/image")
	}
	var b builder
	for rest != "" {
		segment, after, _ := strings.Cut(rest, "/")
		if segment == "plain" {
			return b.plain(after)
		}
		if segment == "enc" {
			return Image{}, errors.New("the URL of the image is encrypted (enc)")
		}
		name, args, ok := strings.Cut(segment, ":")
		if !ok {
			return b.encoded(rest)
		}
		if !b.imgproxy(name, strings.Split(args, ":")) {
			b.refuse(segment)
		}
		rest = after
	}
	return Image{}, errors.New("the URL has no image")
}

// plain reads an escaped URL, and an extension after @.
func (b *builder) plain(text string) (Image, error) {
	text, extension, ok := strings.Cut(text, "@")
	if ok && !b.format(extension) {
		b.refuse("@" + extension)
	}
	name, err := url.PathUnescape(text)
	if err != nil {
		return Image{}, err
	}
	b.Name = name
	return b.done()
}

// encoded reads a URL in base64url, possibly in several segments, and an extension.
func (b *builder) encoded(text string) (Image, error) {
	text, extension, ok := strings.Cut(text, ".")
	if ok && !b.format(extension) {
		b.refuse("." + extension)
	}
	name, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.ReplaceAll(text, "/", ""), "="))
	if err != nil {
		return Image{}, errors.New("the image is neither plain/URL nor base64url")
	}
	b.Name = string(name)
	return b.done()
}

// imgproxy applies an option. It returns false if that has no equivalent.
func (b *builder) imgproxy(name string, args []string) bool {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	s := &b.Spec
	switch name {
	case "resize", "rs":
		return b.imgproxyType(arg(0)) && b.imgproxySize(args[1:])
	case "size", "s":
		return b.imgproxySize(args)
	case "resizing_type", "rt":
		return b.imgproxyType(arg(0))
	case "width", "w":
		return b.imgproxySize(args[:1])
	case "height", "h":
		return b.imgproxySize([]string{"", arg(0)})
	case "dpr":
		dpr, err := strconv.ParseFloat(arg(0), 64)
		b.dpr = dpr
		return err == nil && dpr > 0 && dpr <= 8
	case "enlarge", "el":
		s.Up = truth(arg(0))
	case "extend", "ex":
		return b.extend(args)
	case "gravity", "g":
		return b.imgproxyGravity(args)
	case "crop", "c":
		return b.imgproxyCrop(args)
	case "trim", "t":
		s.Trim = true
	case "rotate", "rot":
		n, ok := number(arg(0), 270)
		s.Rotate = n
		return ok && n%90 == 0
	case "flip", "fl":
		return b.mirror(truth(arg(0)), truth(arg(1)))
	case "background", "bg":
		return b.imgproxyBackground(args)
	case "blur", "bl":
		return b.blur(arg(0))
	case "sharpen", "sh":
		s.Sharp = arg(0) != "0"
	default:
		return b.imgproxyOutput(name, arg)
	}
	return true
}

// imgproxyOutput applies the options that do not change geometry and tone.
func (b *builder) imgproxyOutput(name string, arg func(int) string) bool {
	switch name {
	case "quality", "q":
		n, ok := number(arg(0), 100)
		b.Spec.Quality = n
		return ok
	case "format", "f", "ext":
		return b.format(arg(0))
	case "keep_copyright", "kcr":
		b.Spec.Credit = truth(arg(0))
	case "auto_rotate", "ar", "strip_metadata", "sm":
		return truth(arg(0)) // always done
	case "strip_color_profile", "scp":
	case "raw":
		if truth(arg(0)) {
			b.Spec = resize.Spec{Shape: resize.ShapeOriginal}
		}
	case "cachebuster", "cb":
		b.Version = arg(0)
	case "expires", "exp":
		n, ok := number(arg(0), 1<<40)
		b.Expires = time.Unix(int64(n), 0)
		return ok
	default:
		return false
	}
	return true
}

func truth(text string) bool { return text == "1" || text == "t" || text == "true" }

func (b *builder) imgproxyType(name string) bool {
	switch name {
	case "", "fit":
	case "fill", "fill-down":
		b.Spec.Fit = resize.FitCover
	case "force":
		b.Spec.Fit = resize.FitExact
	default:
		return false
	}
	return true
}

// imgproxySize applies width, height, enlarge and extend; empty ones change nothing.
func (b *builder) imgproxySize(args []string) bool {
	for i, arg := range args {
		if arg == "" {
			continue
		}
		switch i {
		case 0, 1:
			n, ok := number(arg, resize.MaxBox)
			if !ok {
				return false
			}
			*[]*int{&b.Spec.Width, &b.Spec.Height}[i] = n
		case 2:
			b.Spec.Up = truth(arg)
		case 3:
			return b.extend(args[3:])
		}
	}
	return true
}

// extend pads. Only at the centre has an equivalent.
func (b *builder) extend(args []string) bool {
	if truth(args[0]) {
		b.Spec.Fit = resize.FitPad
	}
	return len(args) == 1 || args[1] == "" || args[1] == "ce"
}

func (b *builder) imgproxyGravity(args []string) bool {
	kind := args[0]
	if kind == "fp" {
		return len(args) == 3 && b.focus(args[1], args[2])
	}
	for _, offset := range args[1:] {
		if kind != "obj" && offset != "" && offset != "0" {
			return false
		}
	}
	switch kind {
	case "ce":
	case "obj":
		b.Spec.Gravity = resize.GravityFace
		return len(args) == 2 && args[1] == "face"
	case "nowe", "noea", "sowe", "soea":
		left, top := "0", "0"
		if strings.HasSuffix(kind, "ea") {
			left = "1"
		}
		if strings.HasPrefix(kind, "so") {
			top = "1"
		}
		return b.focus(left, top)
	default:
		gravity, ok := map[string]resize.Gravity{
			"sm": resize.GravitySmart, "no": resize.GravityTop, "so": resize.GravityBottom,
			"we": resize.GravityLeft, "ea": resize.GravityRight,
		}[kind]
		b.Spec.Gravity = gravity
		return ok
	}
	return true
}

// imgproxyCrop applies a crop in parts of the original around its centre. One in pixels has no
// equivalent: the size of the original is unknown.
func (b *builder) imgproxyCrop(args []string) bool {
	if len(args) > 3 || len(args) == 3 && args[2] != "ce" {
		return false
	}
	var sides [2]float64
	for i := range sides {
		if i < len(args) {
			n, err := strconv.ParseFloat(args[i], 64)
			if err != nil || n < 0 || n >= 1 {
				return false
			}
			sides[i] = n
		}
		if sides[i] == 0 {
			sides[i] = 1
		}
	}
	return b.crop((1-sides[0])/2, (1-sides[1])/2, (1+sides[0])/2, (1+sides[1])/2)
}

// mirror swaps left and right, top and bottom, or both, which is half a turn.
func (b *builder) mirror(leftRight, topBottom bool) bool {
	switch {
	case leftRight && topBottom:
		b.Spec.Rotate = (b.Spec.Rotate + 180) % 360
	case leftRight:
		b.Spec.Mirror = resize.MirrorFlop
	case topBottom:
		b.Spec.Mirror = resize.MirrorFlip
	}
	return true
}

// imgproxyBackground applies hexadecimal digits, or red, green and blue.
func (b *builder) imgproxyBackground(args []string) bool {
	if len(args) != 3 {
		return args[0] == "" || b.background(args[0])
	}
	var rgb [3]uint8
	for i, arg := range args {
		n, ok := number(arg, 255)
		if !ok {
			return false
		}
		rgb[i] = uint8(n)
	}
	b.Spec.Background = resize.RGB(rgb[0], rgb[1], rgb[2])
	return true
}
