package resize

import (
	"encoding/json"
	"fmt"
)

// Info describes an original. In JSON all fields are always present.
type Info struct {
	Width       int    `json:"width"` // pixels, after Orientation
	Height      int    `json:"height"`
	Format      string `json:"format"` // as in URLs (jpg, png, …), or tiff
	Bytes       int    `json:"bytes"`  // of the original
	Animated    bool   `json:"animated"`
	Frames      int    `json:"frames"`      // 1 for stills; see Header.Frames
	Orientation int    `json:"orientation"` // EXIF orientation, 1-8, already applied to Width and Height
	ThumbHash   string `json:"thumbhash"`   // of the first frame, base64 with padding
	BlurHash    string `json:"blurhash"`    // 4x3 or 3x4 components, transparency on white
	Color       string `json:"color"`       // #rrggbb: the mean of the pixels that are not transparent
}

// NewInfo returns the Info of an original with header h and a length in bytes. ThumbHash,
// BlurHash and Color stay empty: they need decoded pixels.
func NewInfo(h Header, bytes int) Info {
	width, height := h.Upright()
	format := h.Kind.String()
	if h.Kind == KindJPEG {
		format = JPEG.String()
	}
	return Info{
		Width: width, Height: height, Format: format, Bytes: bytes,
		Animated: h.Animated, Frames: h.Frames, Orientation: h.Orientation,
	}
}

// Image returns i encoded as JSON, as a [Resizer] returns it.
func (i Info) Image() (Image, error) {
	body, err := json.Marshal(i)
	if err != nil {
		return Image{}, fmt.Errorf("encode info: %w", err)
	}
	return Image{Body: body, Format: JSON, Width: i.Width, Height: i.Height}, nil
}
