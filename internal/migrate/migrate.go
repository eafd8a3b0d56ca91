// Package migrate reads URLs of imgproxy, thumbor and imagor: which image they name, and the Spec that
// makes about the same variant. Signatures are not checked. Start reading at [Parse].
package migrate

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// From are the services whose URLs Parse reads.
var From = []string{"imgproxy", "thumbor", "imagor"}

// Image is the image that a URL of another service requests.
type Image struct {
	Name    string      // image as the URL names it, not escaped: a name or a URL
	Spec    resize.Spec // its Format is NoFormat if the URL names none
	Version string      // of a cache buster, or ""
	Expires time.Time   // zero is never
}

// Parse reads a URL, or a path with its signature, of the service from. The error lists every option
// that has no equivalent.
func Parse(from, text string) (Image, error) {
	path := text
	if u, err := url.Parse(text); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
		path = u.EscapedPath()
	}
	path = strings.TrimPrefix(path, "/")
	switch from {
	case "imgproxy":
		return parseImgproxy(path)
	case "thumbor", "imagor":
		return parseThumbor(path)
	}
	return Image{}, fmt.Errorf("no such service: %q", from)
}

// Canonical returns the Spec that i asks for, in the format f if the URL names none. Options without
// effect are dropped.
func (i Image) Canonical(f resize.Format) (resize.Spec, error) {
	s := i.Spec
	if s.Shape == resize.ShapeOriginal {
		return s, nil
	}
	if s.Format == resize.NoFormat {
		s.Format = f
	}
	if s.Width == 0 || s.Height == 0 {
		s.Fit, s.Gravity, s.FocusX, s.FocusY = resize.FitInside, resize.GravityCentre, 0, 0
	}
	if s.Width == 0 && s.Height == 0 {
		return s, errors.New("the URL has no size, which imagetier requires")
	}
	parsed, err := resize.ParseSpec(s.String(), s.Format.String())
	var spelling *resize.SpellingError
	if errors.As(err, &spelling) {
		return spelling.Canonical, nil
	}
	return parsed, err
}

// builder collects what an URL asks for, and the options that have no equivalent.
type builder struct {
	Image
	unsupported []string
	dpr         float64
}

func (b *builder) refuse(option string) { b.unsupported = append(b.unsupported, option) }

// done returns the image, or an error that lists the refused options.
func (b *builder) done() (Image, error) {
	if b.dpr > 0 {
		b.Spec.Width = int(math.Round(float64(b.Spec.Width) * b.dpr))
		b.Spec.Height = int(math.Round(float64(b.Spec.Height) * b.dpr))
	}
	if b.Name == "" {
		return Image{}, errors.New("the URL has no image")
	}
	if len(b.unsupported) > 0 {
		return Image{}, fmt.Errorf("no equivalent: %s", strings.Join(b.unsupported, ", "))
	}
	return b.Image, nil
}

// format sets the format of an extension.
func (b *builder) format(name string) bool {
	if name == "jpeg" {
		name = "jpg"
	}
	f, err := resize.ParseFormat(name)
	if err != nil || f == resize.JSON {
		return false
	}
	b.Spec.Format = f
	return true
}

// number parses digits, 0 to most.
func number(text string, most int) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= most
}

// blur sets the nearest sigma from 1 to 100.
func (b *builder) blur(text string) bool {
	sigma, err := strconv.ParseFloat(text, 64)
	if err != nil || sigma < 0 {
		return false
	}
	if sigma > 0 {
		b.Spec.Blur = uint8(min(max(math.Round(sigma), 1), 100))
	}
	return true
}

// background sets a colour of six hexadecimal digits.
func (b *builder) background(hex string) bool {
	n, err := strconv.ParseUint(hex, 16, 24)
	if err != nil || len(hex) != 6 {
		return false
	}
	b.Spec.Background = resize.RGB(uint8(n>>16), uint8(n>>8), uint8(n))
	return true
}

// focus sets a focal point of two numbers from 0 to 1.
func (b *builder) focus(left, top string) bool {
	x, errX := strconv.ParseFloat(left, 64)
	y, errY := strconv.ParseFloat(top, 64)
	if errX != nil || errY != nil || x < 0 || x > 1 || y < 0 || y > 1 {
		return false
	}
	b.Spec.Gravity = resize.GravityAt
	b.Spec.FocusX, b.Spec.FocusY = uint8(math.Round(100*x)), uint8(math.Round(100*y))
	return true
}

// crop sets a part of the original by its edges, from 0 to 1.
func (b *builder) crop(left, top, right, bottom float64) bool {
	if left < 0 || top < 0 || right > 1 || bottom > 1 || left >= right || top >= bottom {
		return false
	}
	thousandths := func(from, to float64) (uint16, uint16) {
		start := uint16(math.Round(1000 * from))
		return start, max(1, uint16(math.Round(1000*to))-start)
	}
	c := &b.Spec.Crop
	c.Left, c.Width = thousandths(left, right)
	c.Top, c.Height = thousandths(top, bottom)
	return true
}
