package migrate

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

var (
	thumborCrop   = regexp.MustCompile(`^([0-9.]+)x([0-9.]+):([0-9.]+)x([0-9.]+)$`)
	thumborSize   = regexp.MustCompile(`^(-?)([0-9]*)x(-?)([0-9]*)$`)
	thumborFilter = regexp.MustCompile(`([a-z_]+)\(([^()]*)\)`)
)

// parseThumbor reads {signature}/trim/AxB:CxD/fit-in/WxH/halign/valign/smart/filters:…/{image}. Each
// part but the signature and the image may be missing. imagor's URLs have the same form.
func parseThumbor(path string) (Image, error) {
	signature, rest, ok := strings.Cut(path, "/")
	if !ok || signature == "" {
		return Image{}, errors.New("want /signature/options/image, or /unsafe/options/image")
	}
	b := builder{Image: Image{Spec: resize.Spec{Fit: resize.FitCover, Up: true}}} // thumbor enlarges
	t := thumbor{builder: &b, halign: 0.5, valign: 0.5}
	for rest != "" {
		segment, after, more := strings.Cut(rest, "/")
		if strings.HasPrefix(segment, "filters:") {
			// An argument of a filter may contain /.
			end := strings.Index(rest, ")/")
			for end >= 0 && strings.HasPrefix(rest[end+2:], ":") {
				next := strings.Index(rest[end+2:], ")/")
				if next < 0 {
					break
				}
				end += 2 + next
			}
			if end < 0 {
				return Image{}, errors.New("the URL has no image after its filters")
			}
			segment, after, more = rest[:end+1], rest[end+2:], true
		}
		if !more || !t.segment(segment) {
			break // the image begins
		}
		rest = after
	}
	name, err := url.PathUnescape(rest)
	if err != nil {
		return Image{}, err
	}
	b.Name = name
	t.align()
	return b.done()
}

// thumbor is the state of parseThumbor.
type thumbor struct {
	*builder
	halign, valign float64 // 0 to 1
	aligned, smart bool
	fitIn          bool
}

// segment applies a part of the path. It returns false if the part is not an option, and so begins
// the image.
func (t *thumbor) segment(segment string) bool {
	s := &t.Spec
	if m := thumborCrop.FindStringSubmatch(segment); m != nil {
		var edges [4]float64
		for i := range edges {
			edges[i], _ = strconv.ParseFloat(m[i+1], 64)
		}
		if !t.crop(edges[0], edges[1], edges[2], edges[3]) {
			t.refuse(segment + " (a crop in pixels)")
		}
		return true
	}
	if m := thumborSize.FindStringSubmatch(segment); m != nil && segment != "x" {
		s.Width, _ = strconv.Atoi(m[2])
		s.Height, _ = strconv.Atoi(m[4])
		return t.mirror(m[1] != "", m[3] != "")
	}
	switch segment {
	case "fit-in":
		t.fitIn = true
		s.Fit, s.Up = resize.FitInside, false
	case "stretch":
		s.Fit = resize.FitExact
	case "smart":
		t.smart = true
	case "left", "right", "center":
		t.halign, t.aligned = map[string]float64{"left": 0, "right": 1, "center": 0.5}[segment], true
	case "top", "bottom", "middle":
		t.valign, t.aligned = map[string]float64{"top": 0, "bottom": 1, "middle": 0.5}[segment], true
	case "meta", "debug", "adaptive-fit-in", "full-fit-in", "adaptive-full-fit-in":
		t.refuse(segment)
	default:
		if segment == "trim" || strings.HasPrefix(segment, "trim:") {
			s.Trim = true
			return true
		}
		if filters, ok := strings.CutPrefix(segment, "filters:"); ok {
			for _, m := range thumborFilter.FindAllStringSubmatch(filters, -1) {
				if !t.filter(m[1], strings.Split(m[2], ",")) {
					t.refuse(m[0])
				}
			}
			return true
		}
		return false
	}
	return true
}

// align sets the gravity of halign, valign and smart.
func (t *thumbor) align() {
	s := &t.Spec
	switch {
	case s.Gravity != resize.GravityCentre: // a focal point
	case t.smart:
		s.Gravity = resize.GravitySmart
	case !t.aligned:
	case t.valign == 0.5 && t.halign != 0.5:
		s.Gravity = []resize.Gravity{resize.GravityLeft, resize.GravityRight}[int(t.halign)]
	case t.halign == 0.5 && t.valign != 0.5:
		s.Gravity = []resize.Gravity{resize.GravityTop, resize.GravityBottom}[int(t.valign)]
	case t.halign != 0.5:
		s.Gravity, s.FocusX, s.FocusY = resize.GravityAt, uint8(100*t.halign), uint8(100*t.valign)
	}
}

// filter applies a filter. It returns false if that has no equivalent.
func (t *thumbor) filter(name string, args []string) bool {
	s := &t.Spec
	switch name {
	case "quality":
		n, ok := number(args[0], 100)
		s.Quality = n
		return ok
	case "format":
		return t.format(args[0])
	case "blur":
		return t.blur(args[len(args)-1]) // the sigma, or the radius alone
	case "grayscale":
		s.Gray = true
	case "sharpen":
		s.Sharp = true
	case "rotate":
		n, ok := number(args[0], 270)
		s.Rotate = (s.Rotate + 360 - n) % 360 // counterclockwise
		return ok && n%90 == 0
	case "no_upscale":
		s.Up = false
	case "upscale":
		s.Up = true
	case "fill":
		if t.fitIn {
			s.Fit = resize.FitPad
		}
		return args[0] == "white" || t.background(strings.TrimPrefix(args[0], "#"))
	case "background_color":
		return args[0] == "white" || t.background(strings.TrimPrefix(args[0], "#"))
	case "focal":
		left, top, ok := strings.Cut(args[0], "x")
		return ok && t.focus(left, top)
	case "strip_exif", "strip_icc", "strip_metadata":
	default:
		return false
	}
	return true
}
