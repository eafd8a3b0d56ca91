package resize

import (
	"bytes"
	"slices"
)

// The items of AVIF and HEIC: which one is the image, and what its properties say.

// cursor reads big-endian integers. At the end it returns zeros and sets short.
type cursor struct {
	b     []byte
	short bool
}

// number reads an integer of size bytes, 0 to 8.
func (c *cursor) number(size int) (n uint64) {
	if len(c.b) < size {
		c.b, c.short = nil, true
		return 0
	}
	for _, digit := range c.b[:size] {
		n = n<<8 | uint64(digit)
	}
	c.b = c.b[size:]
	return n
}

// readBMFF reads the primary item and, if there is one, the track of a sequence.
func (h *Header) readBMFF(b []byte) error {
	f, err := openBMFF(h.Kind, b)
	if err != nil {
		return err
	}
	h.Channels, h.BitDepth = 3, 8
	if f.moov != nil {
		frames, width, height := f.sequence()
		h.Frames, h.Animated = max(frames, 1), frames > 1
		h.widen(width, height)
	}
	if f.primary == 0 {
		if f.moov != nil {
			return unsupported(h.Kind, "a sequence without a still image")
		}
		return corrupt(h.Kind, "it has no image")
	}
	props, err := f.properties()
	if err != nil {
		return err
	}
	for _, p := range props {
		h.readAnyProperty(p)
	}
	if err := f.eachAssociation(f.primary, func(index int) error {
		if index < 1 || index > len(props) {
			return nil // 0 means no property, and libheif ignores indices out of range
		}
		return h.readProperty(props[index-1])
	}); err != nil {
		return err
	}
	if h.Alpha = h.Alpha && f.hasAuxiliary(); h.Alpha {
		h.Channels++
		_, premultiplied := f.references("prem", f.primary)
		h.Premultiplied = premultiplied > 0
	}
	return h.readItem(f, props)
}

// readItem reads the primary item: one coded image, or a grid of them.
func (h *Header) readItem(f bmff, props []property) error {
	coded, typ := f.primary, f.itemType(f.primary)
	switch typ {
	case "grid", "iden":
		tile, tiles := f.references("dimg", f.primary)
		if tiles == 0 {
			return corrupt(h.Kind, "its derived image has no sources")
		}
		if typ == "grid" {
			if err := h.readGrid(f, props, tile, tiles); err != nil {
				return err
			}
		}
		coded, typ = tile, f.itemType(tile)
	}
	switch typ {
	case "av01":
		h.Kind = KindAVIF
	case "hvc1", "hev1":
		h.Kind = KindHEIC
	case "":
		return corrupt(h.Kind, "it has no image")
	default:
		return unsupported(h.Kind, "an image of type %s", quote(typ))
	}
	if h.Colour == (Colour{}) { // no colr box has code points
		h.Colour = f.codedColour(coded, props)
	}
	return nil
}

// readGrid reads a grid item (HEIF 6.6.2.3) and widens the largest frame to all of its tiles,
// because a decoder decodes each tile completely.
func (h *Header) readGrid(f bmff, props []property, tile, tiles int) error {
	var data []byte
	err := f.eachExtent(func(id int, inIdat bool, offset, length uint64) error {
		if id != f.primary || data != nil {
			return nil
		}
		from := f.file
		if inIdat {
			from = f.idat
		}
		if offset > uint64(len(from)) || length > uint64(len(from))-offset {
			return corrupt(h.Kind, "its grid is not within the file")
		}
		data = from[offset : offset+length]
		return nil
	})
	if err != nil {
		return err
	}
	if len(data) < 8 {
		return corrupt(h.Kind, "its grid has %d bytes", len(data))
	}
	rows, columns, size := int(data[2])+1, int(data[3])+1, 2
	if data[1]&1 != 0 {
		size = 4
	}
	c := cursor{b: data[4:]}
	width, height := int(c.number(size)), int(c.number(size))
	if c.short || rows*columns != tiles {
		return corrupt(h.Kind, "its grid is %dx%d tiles but has %d", columns, rows, tiles)
	}
	var t Header
	if err := f.eachAssociation(tile, func(index int) error {
		if index < 1 || index > len(props) {
			return nil
		}
		return t.readProperty(props[index-1])
	}); err != nil {
		return err
	}
	if h.Colour == (Colour{}) {
		h.Profile, h.Colour = h.Profile || t.Profile, t.Colour
	}
	if t.CodedWidth > 0 { // Repair removes the crop of a tile
		t.Width, t.Height = t.CodedWidth, t.CodedHeight
	}
	h.BitDepth = max(h.BitDepth, t.BitDepth)
	if t.Channels > 0 {
		h.Channels = t.Channels
	}
	if t.Width*columns < width || t.Height*rows < height {
		return corrupt(
			h.Kind,
			"%dx%d tiles of %dx%d do not cover %dx%d",
			columns,
			rows,
			t.Width,
			t.Height,
			width,
			height,
		)
	}
	h.widen(width, height)
	h.widen(t.Width*columns, t.Height*rows)
	return nil
}

// property is one box of ipco.
type property struct{ typ, body []byte }

// maxProperties is the largest property index: indices have 15 bits.
const maxProperties = 1<<15 - 1

// properties returns the boxes of ipco.
func (f bmff) properties() (props []property, err error) {
	for rest := f.iprp; len(rest) > 0; {
		typ, ipco, after, err := nextBox(f.kind, rest)
		if err != nil {
			return nil, err
		}
		rest = after
		if string(typ) != "ipco" || props != nil {
			continue
		}
		for len(ipco) > 0 {
			typ, body, after, err := nextBox(f.kind, ipco)
			if err != nil {
				return nil, err
			}
			if len(props) == maxProperties {
				return nil, corrupt(f.kind, "it has more than %d properties", maxProperties)
			}
			props = append(props, property{typ, body})
			ipco = after
		}
	}
	return props, nil
}

// readAnyProperty reads the properties that matter no matter which item they belong to.
func (h *Header) readAnyProperty(p property) {
	switch string(p.typ) {
	case "ispe":
		if len(p.body) >= 12 {
			h.widen(be32(p.body[4:]), be32(p.body[8:]))
		}
	}
	h.Alpha = h.Alpha || p.alpha()
}

// alpha reports whether p says that its item is the alpha of another.
func (p property) alpha() bool {
	if string(p.typ) != "auxC" || len(p.body) < 4 {
		return false
	}
	urn, _, _ := bytes.Cut(p.body[4:], []byte{0})
	return string(urn) == "urn:mpeg:mpegB:cicp:systems:auxiliary:alpha" || string(urn) == "urn:mpeg:hevc:2015:auxid:1"
}

// hasAuxiliary reports whether the primary item, or one of the tiles of a grid, has an auxiliary item.
func (f bmff) hasAuxiliary() (found bool) {
	grid := f.itemType(f.primary) == "grid"
	f.eachReference(func(typ string, _ int, to []int) {
		found = found || typ == "auxl" && (grid || slices.Contains(to, f.primary))
	})
	return found
}

// readProperty reads a property of the primary item. Rotations, mirrors and crops are listed in
// the order in which they apply.
func (h *Header) readProperty(p property) error {
	switch string(p.typ) {
	case "ispe":
		if len(p.body) < 12 {
			return corrupt(h.Kind, "its size has %d bytes", len(p.body))
		}
		h.Width, h.Height = be32(p.body[4:]), be32(p.body[8:])
	case "clap":
		h.crop(p.body)
	case "irot":
		if len(p.body) >= 1 { // quarter turns, counter-clockwise
			for range p.body[0] & 3 {
				h.Orientation = turned[h.Orientation&7]
			}
		}
	case "imir":
		if len(p.body) >= 1 { // 0 swaps top and bottom, 1 left and right
			h.Orientation = mirrored[p.body[0]&1][h.Orientation&7]
		}
	case "av1C":
		if len(p.body) < 3 {
			break
		}
		if p.body[2]&0x40 != 0 { // high_bitdepth, and twelve_bit
			h.BitDepth = 10 + int(p.body[2]>>5&1)*2
		}
		if p.body[2]&0x10 != 0 { // monochrome
			h.Channels = 1
		}
	case "hvcC":
		if len(p.body) >= 18 {
			h.BitDepth = 8 + int(p.body[17]&7)
			if p.body[16]&3 == 0 { // chroma_format_idc: monochrome
				h.Channels = 1
			}
		}
	case "pixi":
		if len(p.body) >= 6 && p.body[4] >= 1 {
			h.Channels, h.BitDepth = int(min(p.body[4], 3)), int(p.body[5])
		}
	case "colr":
		h.readColour(p.body)
	}
	return nil
}

// readColour reads colr: an ICC profile, or code points.
func (h *Header) readColour(body []byte) {
	if len(body) < 4 {
		return
	}
	switch string(body[:4]) {
	case "prof", "rICC":
		h.Profile = true
	case "nclx":
		if len(body) >= 11 {
			h.Colour = Colour{
				Primaries: be16(body[4:]), Transfer: be16(body[6:]), Identity: be16(body[8:]) == 0,
				Narrow: body[10]&0x80 == 0,
			}
		}
	}
}

// turned and mirrored map an orientation (its lowest three bits, so 8 is at index 0) to the one
// that results when the upright image is then rotated a quarter turn counter-clockwise or
// mirrored.
var (
	turned   = [8]int{0: 3, 1: 8, 2: 5, 3: 6, 4: 7, 5: 4, 6: 1, 7: 2}
	mirrored = [2][8]int{
		{0: 5, 1: 4, 2: 3, 3: 2, 4: 1, 5: 8, 6: 7, 7: 6}, // top and bottom
		{0: 7, 1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8}, // left and right
	}
)

// crop reads a clean aperture, whose width and height are fractions. If they are integers no
// larger than the image, they become its size. The crop comes before rotations (MIAF, 7.3.6.7).
func (h *Header) crop(body []byte) {
	if len(body) < 32 {
		return
	}
	whole := func(b []byte, limit int) int {
		n, d := be32(b), be32(b[4:])
		if d == 0 || n%d != 0 || n/d < 1 || n/d > limit {
			return limit
		}
		return n / d
	}
	width, height := whole(body, h.Width), whole(body[8:], h.Height)
	// The offset is that of the centre, as a signed fraction.
	start := func(b []byte, coded, size int) int {
		n, d := int(int32(be32(b))), be32(b[4:])
		if d == 0 {
			n, d = 0, 1
		}
		return min(max(((coded-size)*d+2*n)/(2*d), 0), coded-size)
	}
	h.CodedWidth, h.CodedHeight = h.Width, h.Height
	h.Left, h.Top = start(body[16:], h.Width, width), start(body[24:], h.Height, height)
	h.widen(h.Width, h.Height)
	h.Width, h.Height = width, height
}
