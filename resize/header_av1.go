package resize

// The sequence header of AV1 (AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5).

const (
	obuSequenceHeader = 1
	av1ReservedLevels = 7 // levels above have a tier
)

// av1Colour returns the colours of the first sequence header in b, a series of OBUs.
func av1Colour(b []byte) (c Colour, found bool) {
	for len(b) > 0 {
		head := b[0]
		b = b[1:]
		if head&4 != 0 && len(b) > 0 { // an extension
			b = b[1:]
		}
		size := len(b)
		if head&2 != 0 {
			if size, b = leb128(b); size > len(b) {
				return Colour{}, false
			}
		}
		if head>>3&15 == obuSequenceHeader {
			r := msbReader{b: b[:size]}
			if c = av1SequenceColour(&r); r.short {
				return Colour{}, false
			}
			return c, true
		}
		b = b[size:]
	}
	return Colour{}, false
}

// leb128 reads a little-endian base 128 number of at most 4 bytes, and returns the bytes after it.
func leb128(b []byte) (n int, rest []byte) {
	for i := range min(len(b), 4) {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return n, b[i+1:]
		}
	}
	return len(b) + 1, b // longer than any OBU
}

// av1SequenceColour reads sequence_header_obu up to color_config.
func av1SequenceColour(r *msbReader) Colour {
	profile := r.bits(3)
	r.skip(1) // still_picture
	reduced := r.flag()
	if reduced {
		r.skip(5) // seq_level_idx
	} else {
		skipAV1OperatingPoints(r)
	}
	width, height := 1+r.bits(4), 1+r.bits(4) // the sizes of the numbers
	r.skip(width + height)
	if !reduced && r.flag() { // frame_id_numbers_present_flag
		r.skip(4 + 3)
	}
	r.skip(3) // superblocks of 128x128, filters of intra prediction
	if !reduced {
		skipAV1Tools(r)
	}
	r.skip(3) // enable_superres, enable_cdef, enable_restoration
	return av1ColourConfig(r, profile)
}

// skipAV1OperatingPoints skips timing_info, decoder_model_info and the operating points.
func skipAV1OperatingPoints(r *msbReader) {
	delay := 0    // the size of numbers of the decoder model, 0 without one
	if r.flag() { // timing_info_present_flag
		r.skip(32 + 32)
		if r.flag() { // equal_picture_interval
			r.golomb()
		}
		if r.flag() { // decoder_model_info_present_flag
			delay = 1 + r.bits(5)
			r.skip(32 + 5 + 5)
		}
	}
	display := r.flag() // initial_display_delay_present_flag
	for range 1 + r.bits(5) {
		r.skip(12)
		if level := r.bits(5); level > av1ReservedLevels {
			r.skip(1)
		}
		if delay > 0 && r.flag() {
			r.skip(2*delay + 1)
		}
		if display && r.flag() {
			r.skip(4)
		}
	}
}

// skipAV1Tools skips the flags of tools that stills do not have.
func skipAV1Tools(r *msbReader) {
	r.skip(4) // enable_interintra_compound to enable_dual_filter
	hint := r.flag()
	if hint {
		r.skip(2) // enable_jnt_comp, enable_ref_frame_mvs
	}
	screen := r.flag() // seq_choose_screen_content_tools
	if !screen {
		screen = r.flag() // seq_force_screen_content_tools
	}
	if screen && !r.flag() { // seq_choose_integer_mv
		r.skip(1)
	}
	if hint {
		r.skip(3) // order_hint_bits_minus_1
	}
}

// av1ColourConfig reads color_config.
func av1ColourConfig(r *msbReader, profile int) (c Colour) {
	if high := r.flag(); high && profile == 2 {
		r.skip(1) // twelve_bit
	}
	grey := profile != 1 && r.flag()
	if r.flag() { // color_description_present_flag
		c = r.description()
	}
	if !grey && c.Primaries == 1 && c.Transfer == 13 && c.Identity {
		return c // sRGB has no range of its own: it is full
	}
	c.Narrow = !r.flag()
	return c
}
