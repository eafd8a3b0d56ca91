package vips

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// FuzzLoad calls the C functions of vips.h directly, without the checks of the header and without
// Repair. For any bytes, each step returns a picture or an error.
func FuzzLoad(f *testing.F) {
	names, err := filepath.Glob("../testdata/header/*")
	if err != nil || len(names) == 0 {
		f.Fatal("no files: ", err)
	}
	for i, name := range names {
		file, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file, uint8(i), uint16(i))
		if filepath.Ext(name) == ".jxl" {
			f.Add(file, uint8(0x80), uint16(i))
		}
	}
	newResizer(f)
	f.Fuzz(func(t *testing.T, file []byte, kind uint8, choice uint16) {
		k := resize.KindOf(file)
		if len(file) == 0 {
			return
		}
		if k == resize.NoKind {
			k = resize.KindJPEG + resize.Kind(kind)%(resize.KindJXL-resize.KindJPEG+1)
		}
		if h, err := resize.ReadHeader(file); err == nil && h.LargestWidth*h.LargestHeight > 1<<20 {
			return
		}
		libvips.Lock()
		defer libvips.Unlock()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var pin runtime.Pinner
		defer pin.Unpin()
		r := readable{kind: k, file: file, first: file, moves: kind&0x80 != 0}
		r.pin(&pin)
		loadAndSave(r, int(choice))
	})
}

// loadAndSave runs steps that the bits of choice name. It ignores errors.
func loadAndSave(r readable, choice int) {
	var b arena
	defer b.clear()
	load := func() (picture, error) { return b.load(r, 1<<(choice&3)) }
	if choice&4 != 0 && (r.kind == resize.KindGIF || r.kind == resize.KindWebP) {
		load = func() (picture, error) { return b.loadFrames(r) }
	}
	p, err := load()
	if err != nil || p.size().width*p.size().height > 1<<20 {
		return
	}
	half := func(s size) size { return size{max(1, s.width/2), max(1, s.height/2)} }
	for i, step := range []func(p picture) (picture, error){
		b.unsigned,
		b.widenRange,
		b.unpremultiply,
		func(p picture) (picture, error) {
			s := half(p.size())
			return b.crop(p, rect{p.size().width - s.width, 0, s.width, s.height})
		},
		func(p picture) (picture, error) { return b.scale(p, half(p.size())) },
		func(p picture) (picture, error) { return b.srgb(p, choice&8 != 0) },
		func(p picture) (picture, error) { return b.turn(p, turn{90, true}) },
		func(p picture) (picture, error) { return b.attention(p, half(p.size())) },
		func(p picture) (picture, error) { return b.flatten(p, resize.RGB(1, 2, 3)) },
	} {
		if i != 0 && i != 5 && choice>>(4+i)&1 == 0 {
			continue // only the conversions are always needed
		}
		if p, err = step(p); err == nil {
			p, err = b.memory(p)
		}
		if err != nil {
			return
		}
	}
	if p, err = b.strip(p); err != nil {
		return
	}
	formats := []resize.Format{resize.JPEG, resize.PNG, resize.WebP, resize.GIF}
	_, _ = encodePicture(p, resize.Spec{Width: 1, Format: formats[choice%4]}, false)
}
