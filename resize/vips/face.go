package vips

import (
	_ "embed"
	"image"

	pigo "github.com/esimov/pigo/core"
)

// cascade is the trained model of pigo's face detector: cascade/facefinder of pigo 1.4.6 (MIT, see
// the LICENSE beside it).
//
//go:embed cascade/facefinder
var cascade []byte

// faceSide is the long side, in pixels, of the image in which faces are detected. A larger one
// takes quadratic time and finds faces that are too small to crop to.
const faceSide = 400

// minFaceScore is the minimum score of a detection, summed over its windows. Lower scores are
// mostly leaves and shirts (pigo's examples use 5 too).
const minFaceScore = 5

// findFaces returns the centre of the faces in m, as fractions of its width and height, weighted by
// their area; ok is false if the picture has no faces.
func findFaces(m *image.NRGBA) (x, y float64, ok bool) {
	detector, err := pigo.NewPigo().Unpack(cascade)
	if err != nil {
		return 0, 0, false
	}
	width, height := m.Rect.Dx(), m.Rect.Dy()
	by := max(1, (max(width, height)+faceSide-1)/faceSide)
	grey, cols, rows := luma(m, by)
	found := detector.RunCascade(pigo.CascadeParams{
		MinSize: max(20, min(cols, rows)/12), MaxSize: min(cols, rows), ShiftFactor: 0.1, ScaleFactor: 1.1,
		ImageParams: pigo.ImageParams{Pixels: grey, Rows: rows, Cols: cols, Dim: cols},
	}, 0)
	sum := 0.0
	for _, face := range detector.ClusterDetections(found, 0.2) {
		if face.Q < minFaceScore {
			continue
		}
		weight := float64(face.Scale) * float64(face.Scale)
		x, y, sum = x+weight*float64(face.Col), y+weight*float64(face.Row), sum+weight
	}
	if sum == 0 {
		return 0, 0, false
	}
	return x / sum / float64(cols), y / sum / float64(rows), true
}

// luma returns the brightness of m (ITU-R BT.601), averaged over blocks of by × by pixels.
func luma(m *image.NRGBA, by int) (grey []uint8, cols, rows int) {
	cols, rows = max(1, m.Rect.Dx()/by), max(1, m.Rect.Dy()/by)
	grey = make([]uint8, cols*rows)
	for i := range grey {
		sum := 0
		for y := range min(by, m.Rect.Dy()) {
			for x := range min(by, m.Rect.Dx()) {
				p := m.Pix[m.PixOffset(i%cols*by+x, i/cols*by+y):]
				sum += 299*int(p[0]) + 587*int(p[1]) + 114*int(p[2])
			}
		}
		grey[i] = uint8(sum / (1000 * min(by, m.Rect.Dy()) * min(by, m.Rect.Dx())))
	}
	return grey, cols, rows
}

// face returns the crop of that size around the faces of p, as centred as the edges allow; ok is
// false if the picture has no faces.
func (b *arena) face(p picture, to size) (at rect, ok bool, err error) {
	if p, err = b.memory(p); err != nil {
		return rect{}, false, err
	}
	m, err := p.nrgba()
	if err != nil {
		return rect{}, false, err
	}
	x, y, ok := findFaces(m)
	whole := p.size()
	middle := func(part float64, n, keep int) int { return min(max(0, int(part*float64(n))-keep/2), n-keep) }
	return rect{middle(x, whole.width, to.width), middle(y, whole.height, to.height), to.width, to.height}, ok, nil
}
