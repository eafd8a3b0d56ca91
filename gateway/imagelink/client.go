package imagelink

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Header is the request header by which a client says what it wants, as ParseClient reads
// it: "webp@3x". It goes before what User-Agent tells.
const Header = "X-Image-Client"

// Vary are the headers that an answer with minted URLs depends on.
const Vary = "User-Agent, " + Header

// Format is what a client decodes; a later one is smaller.
type Format uint8

const (
	JPEG Format = iota // everybody
	WebP
	AVIF

	formats
)

func (f Format) String() string { return [...]string{"jpg", "webp", "avif"}[f] }

// fallbacks returns f and what to take where a profile does not have it.
func (f Format) fallbacks() []resize.Format {
	return []resize.Format{resize.AVIF, resize.WebP, resize.JPEG}[AVIF-f:]
}

// maxScale is the largest scale that there are classes for: @4x is @3x.
const maxScale = 3

// classes is how many Clients there are. Each is a picture of its own in every CDN, so
// there are few.
const classes = int(formats) * maxScale

// Client is a class of clients: what they decode, and how many pixels a point has on their
// screens. The zero Client is "jpg@1x".
type Client struct {
	Format Format
	Scale  int // 1-3; less is 1, more is 3
}

func (c Client) scale() int { return min(max(c.Scale, 1), maxScale) }

func (c Client) class() int { return int(min(c.Format, AVIF))*maxScale + c.scale() - 1 }

func clientOfClass(class int) Client {
	return Client{Format: Format(class / maxScale), Scale: class%maxScale + 1}
}

// String returns "webp@3x": what ParseClient reads.
func (c Client) String() string { return c.Format.String() + "@" + strconv.Itoa(c.scale()) + "x" }

// ClientOf returns the class of who sent these headers: what Header says counts, and what
// it leaves out or says wrong is told by User-Agent.
func ClientOf(h http.Header) Client {
	c := ClientOfUserAgent(h.Get("User-Agent"))
	if said := h.Get(Header); said != "" {
		if explicit, err := ParseClient(said, c); err == nil {
			return explicit
		}
	}
	return c
}

// ParseClient reads what a client says of itself: a format (jpg, webp, avif), a scale (@1x,
// @2x, @3x), or both: "webp@3x". What it does not say is as in otherwise.
func ParseClient(text string, otherwise Client) (Client, error) {
	c := otherwise
	format, scale, scaled := strings.Cut(strings.TrimSpace(text), "@")
	switch format {
	case "jpg":
		c.Format = JPEG
	case "webp":
		c.Format = WebP
	case "avif":
		c.Format = AVIF
	default:
		if format != "" || !scaled {
			return otherwise, fmt.Errorf("image client %.40q: want jpg, webp or avif, then @1x, @2x or @3x or nothing", text)
		}
	}
	if scaled {
		n, err := strconv.ParseUint(strings.TrimSuffix(scale, "x"), 10, 8)
		if err != nil || n < 1 || !strings.HasSuffix(scale, "x") {
			return otherwise, fmt.Errorf("image client %.40q: a scale is @1x, @2x or @3x", text)
		}
		c.Scale = min(int(n), maxScale)
	}
	return c, nil
}
