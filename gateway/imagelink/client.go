package imagelink

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Header is the request header with the format and scale that a client wants, as [ParseClient] reads
// it: "webp@3x". It overrides User-Agent.
const Header = "X-Image-Client"

// Vary is the Vary header of answers with minted URLs.
const Vary = "User-Agent, " + Header

// Format is the best image format that a client decodes, in the order of compression.
type Format uint8

const (
	JPEG Format = iota // every client
	WebP
	AVIF

	formats
)

// String returns "jpg", "webp" or "avif".
func (f Format) String() string { return [...]string{"jpg", "webp", "avif"}[f] }

// fallbacks returns f and then the formats to use if a profile does not have it.
func (f Format) fallbacks() []resize.Format {
	return []resize.Format{resize.AVIF, resize.WebP, resize.JPEG}[AVIF-f:]
}

// maxScale is the largest distinguished scale: @4x is treated as @3x.
const maxScale = 3

// classes is the number of distinct Clients. It is small, because each has its own images in every
// CDN cache.
const classes = int(formats) * maxScale

// Client is a class of clients: the format they decode, and the pixels per point of their screens.
// The zero Client is "jpg@1x".
type Client struct {
	Format Format
	Scale  int // 1-3; less is 1, more is 3
}

func (c Client) scale() int { return min(max(c.Scale, 1), maxScale) }

func (c Client) class() int { return int(min(c.Format, AVIF))*maxScale + c.scale() - 1 }

func clientOfClass(class int) Client {
	return Client{Format: Format(class / maxScale), Scale: class%maxScale + 1}
}

// String returns the text that [ParseClient] reads, like "webp@3x".
func (c Client) String() string { return c.Format.String() + "@" + strconv.Itoa(c.scale()) + "x" }

// ClientOf returns the class of a client by its request headers: [Header], and User-Agent for
// everything that it leaves out. An invalid Header is ignored.
func ClientOf(h http.Header) Client {
	c := ClientOfUserAgent(h.Get("User-Agent"))
	if text := h.Get(Header); text != "" {
		if explicit, err := ParseClient(text, c); err == nil {
			return explicit
		}
	}
	return c
}

// ParseClient parses a format (jpg, webp, avif), a scale (@1x, @2x, @3x), or both: "webp@3x". An
// omitted part, and everything on an error, is that of otherwise.
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
			return otherwise, fmt.Errorf(
				"image client %.40q: want jpg, webp or avif, optionally followed by @1x, @2x or @3x",
				text,
			)
		}
	}
	if scaled {
		n, err := strconv.ParseUint(strings.TrimSuffix(scale, "x"), 10, 8)
		if err != nil || n < 1 || !strings.HasSuffix(scale, "x") {
			return otherwise, fmt.Errorf("image client %.40q: the scale must be @1x, @2x or @3x", text)
		}
		c.Scale = min(int(n), maxScale)
	}
	return c, nil
}
