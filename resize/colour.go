package resize

// Colour describes colours without an ICC profile. The zero value is sRGB.
type Colour struct {
	// Primaries and Transfer are code points of ITU-T H.273 (CICP). 0 and 2 mean that the file
	// does not say.
	Primaries, Transfer int
	// Identity means that red, green and blue are stored without a matrix, as always in a PNG.
	Identity bool
	// Narrow means that black is 16 and white 235 of 8 bits.
	Narrow bool
	// Coded means that the code points are a PNG's cICP, which counts before a profile too.
	Coded bool
	// Gamma is the exponent of the samples in a PNG's gAMA, in units of 1/100,000: 45,455 is
	// 1/2.2. It is 0 where Transfer counts.
	Gamma int
	// Chromaticities are x and y of white, red, green and blue of a PNG's cHRM, in units of
	// 1/100,000. They are 0 where Primaries counts.
	Chromaticities [8]int
}

// Transfer functions of H.273 with absolute luminance or without a fixed white.
const (
	TransferPQ  = 16
	TransferHLG = 18
)

// HDR reports whether the samples have a higher range than that of a display without HDR.
func (c Colour) HDR() bool { return c.Transfer == TransferPQ || c.Transfer == TransferHLG }
