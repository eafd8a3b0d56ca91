package resize

// Colours that only the bitstream of an AVIF or HEIC describes. A file without a colr box of code
// points has those of the sequence header of AV1 or of the sequence parameter set (SPS) of HEVC.

// maxCodedHead is how many bytes of an item are searched for a sequence header or an SPS. Encoders
// put them first.
const maxCodedHead = 4096

// codedColour returns the colours in the bitstream of a coded image, or the zero Colour.
func (f bmff) codedColour(id int, props []property) (c Colour) {
	var config []byte
	_ = f.eachAssociation(id, func(index int) error {
		if index >= 1 && index <= len(props) {
			if p := props[index-1]; string(p.typ) == "av1C" || string(p.typ) == "hvcC" {
				config = p.body
			}
		}
		return nil
	})
	var found bool
	switch f.itemType(id) {
	case "av01":
		if len(config) >= 4 { // four bytes of fields, then OBUs
			c, found = av1Colour(config[4:])
		}
		if !found {
			c, _ = av1Colour(f.itemHead(id, maxCodedHead))
		}
	case "hvc1", "hev1":
		if len(config) < 23 {
			return Colour{}
		}
		if c, found = hevcConfigColour(config); !found {
			c, _ = hevcItemColour(f.itemHead(id, maxCodedHead), 1+int(config[21]&3))
		}
	}
	return c
}

// msbReader reads bits, most significant first. At the end it returns zeros and sets short.
type msbReader struct {
	b     []byte
	at    int // in bits
	short bool
}

// bits returns the next n bits, at most 32.
func (r *msbReader) bits(n int) (v int) {
	if r.at+n > 8*len(r.b) {
		r.at, r.short = 8*len(r.b), true
		return 0
	}
	for range n {
		v = v<<1 | int(r.b[r.at>>3]>>(7-r.at&7)&1)
		r.at++
	}
	return v
}

func (r *msbReader) flag() bool { return r.bits(1) == 1 }

// skip skips n bits, any number.
func (r *msbReader) skip(n int) {
	if r.at += n; r.at > 8*len(r.b) {
		r.at, r.short = 8*len(r.b), true
	}
}

// golomb returns the next Exp-Golomb code: ue(v) of HEVC, uvlc() of AV1.
func (r *msbReader) golomb() int {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 32 || r.short {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// description reads three code points: primaries, transfer function and matrix.
func (r *msbReader) description() (c Colour) {
	c.Primaries, c.Transfer = r.bits(8), r.bits(8)
	c.Identity = r.bits(8) == 0
	return c
}
