package resize

// Format is the last part of a URL: what a variant is encoded as.
type Format uint8

const (
	NoFormat Format = iota // of ShapeOriginal only
	JPEG
	PNG
	WebP
	AVIF
	GIF
	HEIC
	JXL
	Auto // by Accept; resolved by Spec.Resolve before anything is made
	JSON // of ShapeInfo only
)
