package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/resize"
)

// Watermark is a configured watermark, which Specs name wm.NAME.
type Watermark struct {
	Name string // [a-z0-9]{1,16}
	File string // where it was read from
	// Bytes are what was read: the file may change afterwards, and nothing that is made does.
	Bytes []byte
	// Digest is the first 16 hex digits of their SHA-256. It is part of the cache key.
	Digest string
}

func addResizing(add func(settings.Setting), c *Config) {
	const group = groupResize
	add(settings.Setting{Name: "workers", Group: group, Placeholder: "N", DefaultHelp: "number of cores", Value: settings.Int(&c.Workers, 1, 1024),
		Help: "Resize processes."})
	add(settings.Setting{Name: "resize-command", Group: group, Placeholder: "FILE", DefaultHelp: "beside imagetier", Value: nonEmpty(&c.ResizeCommand),
		Help: "The program imagetier-resize."})
	add(settings.Setting{Name: "mezzanine", Group: group, Placeholder: "N", Default: "1440", Value: settings.Int(&c.Mezzanine, 0, resize.MaxBox),
		Help: "Long side, in pixels, of what a larger original is kept as; small variants are made of that. 0 keeps originals and makes everything of them. Nodes of a fleet need the same: it decides the bytes of variants."})
	add(settings.Setting{Name: "watermark", Group: group, Placeholder: "NAME=FILE", Value: watermarks(&c.Watermarks),
		Help: "An image that wm.NAME lays into the lower right corner, at most a quarter of a picture wide and high. It is read at the start. May be given again."})
	add(settings.Setting{Name: "max-original-bytes", Group: group, Placeholder: "SIZE", Default: "32MiB", Value: settings.Size(&c.Limits.MaxBytes, 1<<10),
		Help: "Larger originals are 413."})
	add(settings.Setting{Name: "max-megapixels", Group: group, Placeholder: "N", Default: "60", Value: megapixels(&c.Limits.MaxPixels),
		Help: "Originals of more pixels are 413. Each worker may need 4 bytes a pixel."})
	add(settings.Setting{Name: "max-side", Group: group, Placeholder: "N", Default: "32768", Value: settings.Int(&c.Limits.MaxSide, 1, 1<<24),
		Help: "Originals that are wider or higher are 413, in pixels."})
	add(settings.Setting{Name: "max-frames", Group: group, Placeholder: "N", Default: "200", Value: settings.Int(&c.Limits.MaxFrames, 1, 1<<20),
		Help: "Animations of more frames are 413."})
}

// watermarkName is what the contract calls one (CONTRACT 1).
var watermarkName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

func watermarks(p *[]Watermark) settings.Value {
	return settings.List(func() { *p = nil }, func(item string) error {
		name, file, err := cutNamed(item, "NAME=FILE, like logo=/etc/imagetier/logo.png")
		if err != nil {
			return err
		}
		if !watermarkName.MatchString(name) {
			return fmt.Errorf("watermark %s: a name is 1-16 of a-z 0-9", name)
		}
		for _, other := range *p {
			if other.Name == name {
				return fmt.Errorf("watermark %s is there twice", name)
			}
		}
		if len(*p) == resize.MaxWatermarks {
			return fmt.Errorf("more than %d watermarks", resize.MaxWatermarks)
		}
		*p = append(*p, Watermark{Name: name, File: file})
		return nil
	}, func() (items []string) {
		for _, w := range *p {
			items = append(items, w.Name+"="+w.File)
		}
		return items
	})
}

// readWatermarks reads their files. Whether they decode whole the resize processes find out,
// which do not start otherwise.
func (c *Config) readWatermarks(r *settings.Resolved) {
	for i := range c.Watermarks {
		w := &c.Watermarks[i]
		if err := w.read(c.Limits); err != nil {
			r.FaultOf("watermark", fmt.Errorf("watermark %s: %w", w.Name, err))
		}
	}
}

func (w *Watermark) read(limits resize.Limits) error {
	info, err := os.Stat(w.File)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", w.File)
	}
	if w.Bytes, err = os.ReadFile(w.File); err != nil {
		return err
	}
	header, err := resize.ReadHeader(w.Bytes)
	if err == nil {
		err = errors.Join(limits.Check(header, len(w.Bytes)), resize.CheckComplete(w.Bytes, header))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.File, err)
	}
	sum := sha256.Sum256(w.Bytes)
	w.Digest = hex.EncodeToString(sum[:8])
	return nil
}
