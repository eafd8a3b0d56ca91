package warmer

import "github.com/novasocial/imagetier/resize"

// The default profile of a feed's devices, which counts until requests show the real one: the shares of all
// requests by format and by the scale of the screen. It is that of an app that is mostly used on recent
// phones, whose other clients are browsers and link previews: an assumption, not a measurement.
//
// A profile that lacks a format gives its share to the others in proportion.
var (
	formatShare = map[resize.Format]float64{resize.AVIF: 0.5, resize.WebP: 0.46, resize.JPEG: 0.04}
	scaleShare  = [3]float64{0.04, 0.22, 0.74} // @1x, @2x, @3x
	// oldScaleShare is for clients that get JPEG: browsers, mostly.
	oldScaleShare = [3]float64{0.2, 0.6, 0.2}
)

// otherFormatShare is the share of a format that is not in formatShare.
const otherFormatShare = 0.04

// priorWeight is the weight of the default profile, as a number of requests.
const priorWeight = 20

// priorsOf returns the share of the requests for a profile that each of its Specs is expected to get. The
// Specs of a format are in the order of scales (profile.Profile.At); the last one is for all larger scales.
func priorsOf(specs []resize.Spec) []float64 {
	count := make(map[resize.Format]int)
	for _, spec := range specs {
		count[spec.Format]++
	}
	priors := make([]float64, len(specs))
	at := make(map[resize.Format]int)
	sum := 0.0
	for i, spec := range specs {
		scales, share := scaleShare, formatShare[spec.Format]
		if spec.Format == resize.JPEG {
			scales = oldScaleShare
		}
		if share == 0 {
			share = otherFormatShare
		}
		scale := at[spec.Format]
		at[spec.Format]++
		part := 0.0
		switch {
		case scale >= len(scales):
			part = 0.01 // beyond @3x, which no client asks for
		case scale == count[spec.Format]-1:
			for _, s := range scales[scale:] {
				part += s
			}
		default:
			part = scales[scale]
		}
		priors[i] = share * part
		sum += priors[i]
	}
	for i := range priors {
		priors[i] /= sum
	}
	return priors
}
