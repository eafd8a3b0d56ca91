package vips

// #include "vips.h"
import "C"

import (
	"context"
	"fmt"
	"runtime/cgo"
	"slices"
	"strings"
	"sync"

	"github.com/novasocial/imagetier/resize"
)

// A job is one call of Resize.
type job struct {
	original    []byte
	readable    readable // what is decoded
	header      resize.Header
	kind        resize.Kind
	stored      size // as decoded at full size
	orientation int  // 1-8, still to be applied after decoding
	transforms  transforms
	watermarks  map[string]watermark
	credit      func() resize.Credit // of the original
	specs       []resize.Spec        // all requested Specs; those from needed on are optional
	needed      int
	made        func(i int, img resize.Image)
	early       cgo.Handle // of the *resize.Arriving while the original arrives; else 0

	decoded bool // decode was called; the fields below are its results
	passes  []*pass
	left    []*rendering // that the passes do not make
}

func (r *Resizer) newJob(request resize.Job, h resize.Header, readable readable) *job {
	original := request.Original
	j := &job{
		specs: request.All(), needed: len(request.Specs), made: request.Made,
		original: original, readable: readable, header: h, kind: h.Kind,
		stored: size{h.Width, h.Height}, orientation: h.Orientation, transforms: r.transforms, watermarks: r.watermarks,
	}
	j.credit = sync.OnceValue(func() resize.Credit { return resize.ReadCredit(original) })
	r.transforms.trim()
	switch h.Kind {
	case resize.KindAVIF, resize.KindHEIC:
		zeroMemory()
	case resize.KindJXL: // its decoder applies the orientation
		j.stored.width, j.stored.height = h.Upright()
		j.orientation = 1
	}
	return j
}

// A rendering is the pixels of one or more Specs, before they are encoded.
type rendering struct {
	resize.Spec      // without encoder settings
	region      rect // of the original, in the stored frame: its crop, or all of it, without its border
	plan        plan
	shrink      int   // the factor by which the decoder scales down
	wanted      []int // the indices of the Specs
	optional    bool  // its Specs are
	focus       *rect // where to crop, once the first frame has been analysed
}

func renderingOf(s resize.Spec) resize.Spec {
	switch s.Shape {
	case resize.ShapeInfo:
		return resize.Spec{Width: infoSide, Height: infoSide}
	case resize.ShapeMezzanine:
		return resize.Spec{Width: s.Width, Height: s.Height}
	}
	s.P3 = wide(s)
	s.Format, s.Quality, s.Still, s.Credit = resize.NoFormat, 0, false, false
	if s.Fit != resize.FitPad { // with FitPad the background is part of the pixels
		s.Background = resize.Color{}
	}
	return s
}

// sharedDecode is the most memory, in bytes, for decoded pixels that several renderings share. A
// larger image is decoded once for each of them.
const sharedDecode = 64 << 20

// make makes all Specs, which have been checked, and decodes as few times as possible. Renderings share a
// decode only at the scale that each would use alone, so the bytes do not depend on the other Specs. The
// optional ones come last, if goOn allows them then.
func (j *job) make(ctx context.Context, goOn func() bool) error {
	defer j.close()
	if !j.decoded {
		if err := j.decode(ctx); err != nil {
			return err
		}
	}
	groups := j.groups(j.left)
	defer func() {
		for _, g := range groups {
			g.clear()
		}
	}()
	steps := make([]step, 0, len(j.passes)+len(groups))
	for _, p := range j.passes {
		steps = append(steps, p)
	}
	for _, g := range groups {
		steps = append(steps, g)
	}
	for _, optional := range [...]bool{false, true} {
		if optional && (j.needed == len(j.specs) || goOn != nil && !goOn()) {
			return nil
		}
		for _, s := range steps {
			if err := s.render(ctx, optional); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode plans all renderings, makes animations, and decodes for the direct path. close must be called even after an
// error.
func (j *job) decode(ctx context.Context) error {
	j.decoded = true
	renderings, err := j.renderings()
	if err != nil {
		return err
	}
	if renderings, err = j.renderAnimations(ctx, renderings); err != nil {
		return err
	}
	j.passes, j.left, err = j.decodeDirect(renderings)
	return err
}

// close frees the passes. j may be nil.
func (j *job) close() {
	if j == nil {
		return
	}
	for _, p := range j.passes {
		p.close()
	}
	j.passes = nil
}

// A step makes the images of some renderings from one decode.
type step interface {
	// render makes those that are optional, or all others.
	render(ctx context.Context, optional bool) error
}

// renderings plans every different rendering of the Specs, and sorts them by the cost of encoding them.
func (j *job) renderings() ([]*rendering, error) {
	var renderings []*rendering
	type pixels struct {
		resize.Spec
		plan     plan // formats that hold different sizes have different plans
		optional bool
	}
	known := map[pixels]*rendering{}
	trimmed := map[rect]rect{}
	for i, s := range j.specs {
		rest := renderingOf(s)
		region := cropped(rest.Crop, j.stored, j.orientation)
		if rest.Trim {
			inside, ok := trimmed[region]
			if !ok {
				var err error
				if inside, err = j.border(region); err != nil {
					return nil, broken(err, j.kind)
				}
				trimmed[region] = inside
			}
			region = inside
		}
		planned := rest
		planned.Format = s.Format // for its longest side
		key := pixels{rest, planFor(planned, region.size(), j.orientation), i >= j.needed}
		l := known[key]
		if l == nil {
			l = &rendering{Spec: rest, region: region, plan: key.plan, optional: key.optional}
			l.shrink = j.shrink(l.plan.factor(region.size()))
			known[key] = l
			renderings = append(renderings, l)
		}
		l.wanted = append(l.wanted, i)
	}
	for _, l := range renderings {
		slices.SortStableFunc(l.wanted, func(a, b int) int {
			return encodingCost(j.specs[a].Format) - encodingCost(j.specs[b].Format)
		})
	}
	slices.SortStableFunc(renderings, func(a, b *rendering) int {
		return a.plan.scaled.width*a.plan.scaled.height - b.plan.scaled.width*b.plan.scaled.height
	})
	return renderings, nil
}

// encodingCost returns how long encoding a pixel takes, relative to JPEG.
func encodingCost(f resize.Format) int {
	switch f {
	case resize.JPEG, resize.JSON:
		return 1
	case resize.AVIF, resize.HEIC, resize.JXL:
		return 13
	}
	return 5
}

// shrink returns the integer factor by which the decoder scales down, for a total factor. It leaves
// at least 1.33 for the resampler, which is the better filter; leaving more takes time without
// visible benefit (measured on phone photos).
func (j *job) shrink(factor float64) int {
	const left = 1.33
	switch j.kind {
	case resize.KindJPEG: // powers of two, in the DCT
		for _, n := range [...]int{8, 4, 2} {
			if factor >= left*float64(n) {
				return n
			}
		}
	case resize.KindWebP: // any factor, by averaging
		if j.header.Animated { // libvips 8.14 changes the size of some frames that do not fill the canvas
			return 1
		}
		return max(1, int(factor/left))
	}
	return 1
}

// open loads the image, scaled down by the decoder.
func (j *job) open(b *arena, shrink int) (picture, error) {
	p, err := b.load(j.readable, shrink)
	if err != nil {
		return picture{}, err
	}
	coded := j.stored
	if j.header.CodedWidth > 0 {
		coded = size{j.header.CodedWidth, j.header.CodedHeight}
	}
	if off(p.size().width*shrink, coded.width) >= shrink || off(p.size().height*shrink, coded.height) >= shrink {
		return picture{}, fmt.Errorf("%w: %s: its header and its pixels differ in size", resize.ErrCorrupt, j.kind)
	}
	if j.header.Alpha && !p.hasAlpha() && j.kind != resize.KindGIF { // its first frame may have none
		return picture{}, fmt.Errorf("%w: %s: its alpha was not decoded", resize.ErrFailed, j.kind)
	}
	if coded != j.stored {
		p, err = b.crop(p, rect{j.header.Left, j.header.Top, j.stored.width, j.stored.height})
	}
	for range j.narrowed() {
		if err == nil {
			p, err = b.widenRange(p)
		}
	}
	if err == nil && j.kind == resize.KindTIFF {
		p, err = b.unsigned(p)
	}
	if err == nil && j.header.Premultiplied {
		p, err = b.unpremultiply(p)
	}
	return p, err
}

// narrowed returns how often the range of decoded samples must be widened. libheif 1.15 converts the
// range together with the matrix, which greyscale and PNGs have not. Of colours without a matrix it
// narrows the range once more.
func (j *job) narrowed() int {
	colour := j.header.Colour
	switch {
	case !colour.Narrow, j.header.Channels >= 3 && !colour.Identity:
		return 0
	case j.header.Channels < 3, j.kind == resize.KindPNG:
		return 1
	}
	return 2
}

func off(a, b int) int { return max(a-b, b-a) }

// share decodes once for several renderings. It returns the zero picture if it would be too large.
func (j *job) share(b *arena, shrink int) (picture, error) {
	lazy, err := j.open(b, shrink)
	if err != nil || lazy.bytes() > sharedDecode {
		return picture{}, err
	}
	return j.compute(b, lazy, lazy)
}

// compute computes p, which derives from the loaded picture lazy, and decodes the rest of lazy
// too, so that damage is always detected.
func (j *job) compute(b *arena, lazy, p picture) (picture, error) {
	p, err := b.memory(p)
	if err == nil {
		err = b.drain(lazy)
	}
	if err == nil && j.kind == resize.KindJPEG && damagedJPEG(C.GoString(C.vips_error_buffer())) {
		err = errVips
	}
	return p, err
}

// damagedJPEG distinguishes libjpeg warnings that mean grey or garbled areas from harmless ones
// (bytes between segments, unusual parameters). libvips can stop at all warnings or at none, and
// keeps the first one of each file in its error buffer.
func damagedJPEG(warnings string) bool {
	return strings.Contains(warnings, "premature end of data segment") ||
		strings.Contains(warnings, "bad Huffman code") ||
		strings.Contains(warnings, "bad arithmetic code") ||
		strings.Contains(warnings, "instead of RST")
}

// border returns the part of region, a part of the original, inside its border. It is detected at
// full size: a thin line would vanish in a shrunk image.
func (j *job) border(region rect) (rect, error) {
	var b arena
	defer b.clear()
	lazy, err := j.open(&b, 1)
	if err != nil {
		return rect{}, err
	}
	if lazy, err = b.crop(lazy, region); err != nil {
		return rect{}, err
	}
	r, err := b.border(lazy)
	r.left, r.top = r.left+region.left, r.top+region.top
	return r, err
}

// convert converts p to 8-bit sRGB, or Display P3 if wide is true.
func (j *job) convert(b *arena, p picture, wide bool) (picture, error) {
	if d := describe(j.header, wide); d != nil && (p.rgb() || p.grey()) {
		return d.convert(b, p)
	}
	return j.transforms.convert(b, p, wide)
}

// within converts r, a part of the original, to pixels of a decoded picture, leaving out pixels
// that are only partly in r.
func (j *job) within(r rect, decoded size) rect {
	left, right := ceil(r.left*decoded.width, j.stored.width), (r.left+r.width)*decoded.width/j.stored.width
	top, bottom := ceil(r.top*decoded.height, j.stored.height), (r.top+r.height)*decoded.height/j.stored.height
	return rect{left, top, max(1, right-left), max(1, bottom-top)}
}

func ceil(a, b int) int { return (a + b - 1) / b }

// A group is the renderings with the same shrink, which libvips makes.
type group struct {
	arena
	j          *job
	renderings []*rendering
	opened     bool
	decoded    picture // shared by all renderings, if not zero
}

// groups groups renderings by shrink.
func (j *job) groups(renderings []*rendering) []*group {
	var groups []*group
	for _, l := range renderings {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.renderings[0].shrink == l.shrink })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{j: j})
		}
		groups[i].renderings = append(groups[i].renderings, l)
	}
	return groups
}

// render implements step. It frees the decoded picture once no rendering needs it any more.
func (g *group) render(ctx context.Context, optional bool) (err error) {
	var now, later []*rendering
	for _, l := range g.renderings {
		switch {
		case l.optional == optional:
			now = append(now, l)
		case l.optional:
			later = append(later, l)
		}
	}
	if len(now) > 0 && len(g.renderings) > 1 && !g.opened {
		g.opened = true
		if g.decoded, err = g.j.share(&g.arena, g.renderings[0].shrink); err != nil {
			return broken(err, g.j.kind)
		}
	}
	for _, l := range now {
		if err := g.j.renderOne(ctx, l, g.decoded); err != nil {
			return err
		}
	}
	if len(later) == 0 {
		g.clear()
	}
	return nil
}

// renderOne makes the images of one rendering, from decoded unless that is zero.
func (j *job) renderOne(ctx context.Context, l *rendering, decoded picture) error {
	var b arena
	defer b.clear()
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := j.decodeAndScale(&b, l, decoded)
	if err != nil {
		return broken(err, j.kind)
	}
	if p, err = j.finish(&b, l, p); err != nil {
		return failed(err, "process the image")
	}
	for _, i := range l.wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		img, err := j.save(&b, p, j.specs[i])
		if err != nil {
			return failed(err, "encode "+j.specs[i].Format.String())
		}
		j.made(i, img)
	}
	return nil
}

// decodeAndScale decodes, scales and crops: all steps that process many pixels.
func (j *job) decodeAndScale(b *arena, l *rendering, decoded picture) (picture, error) {
	lazy := decoded
	if lazy == (picture{}) {
		var err error
		if lazy, err = j.open(b, l.shrink); err != nil {
			return picture{}, err
		}
	}
	p, err := b.crop(lazy, j.within(l.region, lazy.size()))
	if err != nil {
		return picture{}, err
	}
	if p, err = b.scale(p, l.plan.scaled); err != nil {
		return picture{}, err
	}
	if p, err = b.crop(p, l.plan.crop); err != nil {
		return picture{}, err
	}
	return j.compute(b, lazy, p)
}

// finish applies the remaining steps to the small picture.
func (j *job) finish(b *arena, l *rendering, p picture) (picture, error) {
	type step struct {
		needed bool
		take   func(picture) (picture, error)
	}
	plan := l.plan
	// Greyscale is computed from sRGB. Its values are the same in Display P3, so a coloured
	// watermark can be drawn on it.
	p3 := l.P3 && !l.Gray
	background := j.transforms.background(l.Background, p3)
	for _, s := range []step{
		{true, func(p picture) (picture, error) { return j.convert(b, p, p3) }},
		{plan.turn != turn{}, func(p picture) (picture, error) { return b.turn(p, plan.turn) }},
		{plan.attention != size{}, func(p picture) (picture, error) { return l.cropToFocus(b, p) }},
		{plan.enlarged != size{}, func(p picture) (picture, error) { return b.scale(p, plan.enlarged) }},
		{plan.canvas != size{}, func(p picture) (picture, error) { return b.flatten(p, background) }},
		{plan.canvas != size{}, func(p picture) (picture, error) { return b.pad(p, plan.canvas, background) }},
		{l.Gray, b.gray},
		{l.Blur > 0, func(p picture) (picture, error) { return b.blur(p, l.Blur) }},
		{l.Sharp, b.sharpen},
		{l.Watermark != "", func(p picture) (picture, error) { return j.applyWatermark(b, p, l) }},
		{true, b.strip},
		{true, b.memory},
	} {
		if !s.needed {
			continue
		}
		var err error
		if p, err = s.take(p); err != nil {
			return picture{}, err
		}
	}
	return p, nil
}

// cropToFocus crops to faces or to the most interesting part, at the same position in every frame.
func (l *rendering) cropToFocus(b *arena, p picture) (picture, error) {
	if l.focus != nil {
		return b.crop(p, *l.focus)
	}
	if l.Gravity == resize.GravityFace {
		at, ok, err := b.face(p, l.plan.attention)
		if err != nil {
			return picture{}, err
		}
		if ok {
			l.focus = &at
			return b.crop(p, at)
		} // without faces, continue as with GravitySmart
	}
	out, err := b.attention(p, l.plan.attention)
	if err == nil {
		left, top := out.origin()
		l.focus = &rect{left, top, out.size().width, out.size().height}
	}
	return out, err
}

// save encodes the finished p as s.
func (j *job) save(b *arena, p picture, s resize.Spec) (resize.Image, error) {
	if s.Shape == resize.ShapeInfo {
		m, err := p.nrgba()
		if err != nil {
			return resize.Image{}, err
		}
		return newInfo(j.header, len(j.original), m)
	}
	if s.Format == resize.JPEG {
		var err error
		if p, err = b.flatten(p, j.transforms.background(s.Background, wide(s))); err != nil {
			return resize.Image{}, err
		}
	}
	body, err := encode(b, p, s, j.carries(s, p.rgb()))
	if err == nil {
		err = encoding{s.Format, p.size(), 1, p.transparent()}.verify(body)
	}
	if err != nil {
		return resize.Image{}, err
	}
	return resize.Image{Body: body, Format: s.Format, Width: p.size().width, Height: p.size().height}, nil
}
