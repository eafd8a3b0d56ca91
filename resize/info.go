package resize

import (
	"encoding/json"
	"fmt"
)

// Info are facts about an original, in the JSON of CONTRACT 2. All fields are always there.
type Info struct {
	Width       int    `json:"width"` // pixels, after Orientation
	Height      int    `json:"height"`
	Format      string `json:"format"` // as formats are spelled in URLs (jpg, png, …), or tiff
	Bytes       int    `json:"bytes"`  // of the original
	Animated    bool   `json:"animated"`
	Frames      int    `json:"frames"`      // 1 for stills; see Header.Frames
	Orientation int    `json:"orientation"` // 1-8 as in EXIF: what has been applied to Width and Height
	ThumbHash   string `json:"thumbhash"`   // of the first frame, base64 with padding
	BlurHash    string `json:"blurhash"`    // of 4x3 or 3x4 components, transparent parts on white
	Color       string `json:"color"`       // #rrggbb: the mean of what is not transparent
}

// FactsOf returns what header and length of an original say of it: an Info without
// ThumbHash, BlurHash and Color, for which its pixels are needed.
func FactsOf(h Header, bytes int) Info {
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

// Image returns i as a Resizer hands it out.
func (i Info) Image() (Image, error) {
	body, err := json.Marshal(i)
	if err != nil {
		return Image{}, fmt.Errorf("write info: %w", err)
	}
	return Image{Body: body, Format: JSON, Width: i.Width, Height: i.Height}, nil
}
