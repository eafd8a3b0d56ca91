package resize

import (
	"bytes"
	"cmp"
	"slices"
)

// The sequence parameter set of HEVC (ITU-T H.265, 7.3.2.2 and E.2.1).

const (
	nalSPS = 33
	// maxHEVCSets are the largest numbers of short-term and of long-term reference picture sets, and
	// maxHEVCPictures is the largest number of pictures in one.
	maxHEVCShortSets, maxHEVCLongSets, maxHEVCPictures = 64, 32, 16
	// extendedSAR is the aspect_ratio_idc that is followed by two numbers.
	extendedSAR = 255
)

// hevcConfigColour returns the colours of the first SPS in an hvcC box, which has at least 23 bytes
// (ISO/IEC 14496-15, 8.3.3.1).
func hevcConfigColour(config []byte) (c Colour, found bool) {
	in := cursor{b: config[22:]}
	for range in.number(1) {
		in.number(1) // the type of the NAL units
		for range in.number(2) {
			size := int(in.number(2))
			if in.short || size > len(in.b) {
				return Colour{}, false
			}
			if c, found = hevcUnitColour(in.b[:size]); found {
				return c, true
			}
			in.b = in.b[size:]
		}
	}
	return Colour{}, false
}

// hevcItemColour returns the colours of the first SPS in b, NAL units that follow their lengths.
func hevcItemColour(b []byte, lengthSize int) (c Colour, found bool) {
	in := cursor{b: b}
	for len(in.b) > 0 {
		size := in.number(lengthSize)
		if size > uint64(len(in.b)) {
			break
		}
		if c, found = hevcUnitColour(in.b[:size]); found {
			return c, true
		}
		in.b = in.b[size:]
	}
	return Colour{}, false
}

// hevcUnitColour returns the colours of a NAL unit if it is an SPS of the base layer.
func hevcUnitColour(unit []byte) (c Colour, found bool) {
	if len(unit) < 2 || unit[0]>>1&63 != nalSPS || unit[0]&1 != 0 || unit[1]>>3 != 0 {
		return Colour{}, false
	}
	// The third byte of 00 00 03 is not data (emulation prevention).
	r := msbReader{b: bytes.ReplaceAll(unit[2:], []byte{0, 0, 3}, []byte{0, 0})}
	if c = spsColour(&r); r.short {
		return Colour{}, false
	}
	return c, true
}

// spsColour reads seq_parameter_set_rbsp up to the colours of its VUI.
func spsColour(r *msbReader) Colour {
	r.skip(4) // sps_video_parameter_set_id
	layers := r.bits(3)
	r.skip(1) // sps_temporal_id_nesting_flag
	skipHEVCProfile(r, layers)
	r.golomb() // sps_seq_parameter_set_id
	if chroma := r.golomb(); chroma == 3 {
		r.skip(1) // separate_colour_plane_flag
	}
	r.golomb()    // width
	r.golomb()    // height
	if r.flag() { // conformance_window_flag
		skipGolomb(r, 4)
	}
	skipGolomb(r, 2) // bit depths
	orderBits := 4 + r.golomb()
	if all := r.flag(); all { // sps_sub_layer_ordering_info_present_flag
		skipGolomb(r, 3*layers)
	}
	skipGolomb(r, 3)              // of the last sub-layer
	skipGolomb(r, 6)              // sizes of blocks
	if lists := r.flag(); lists { // scaling_list_enabled_flag
		if given := r.flag(); given { // sps_scaling_list_data_present_flag
			skipScalingLists(r)
		}
	}
	r.skip(2)     // amp_enabled_flag, sample_adaptive_offset_enabled_flag
	if r.flag() { // pcm_enabled_flag
		r.skip(4 + 4)
		skipGolomb(r, 2)
		r.skip(1)
	}
	skipReferenceSets(r)
	if r.flag() { // long_term_ref_pics_present_flag
		n := r.golomb()
		if n > maxHEVCLongSets || orderBits > 16 {
			r.short = true
			return Colour{}
		}
		r.skip(n * (orderBits + 1))
	}
	r.skip(2) // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
	if r.flag() {
		return vuiColour(r)
	}
	return Colour{Narrow: true}
}

func skipGolomb(r *msbReader, n int) {
	for range n {
		r.golomb()
	}
}

// skipHEVCProfile skips profile_tier_level. layers is sps_max_sub_layers_minus1.
func skipHEVCProfile(r *msbReader, layers int) {
	const profile, level = 88, 8
	r.skip(profile + level)
	if layers == 0 {
		return
	}
	var bits int
	for range layers {
		if r.flag() {
			bits += profile
		}
		if r.flag() {
			bits += level
		}
	}
	r.skip(2*(8-layers) + bits)
}

// skipScalingLists skips scaling_list_data.
func skipScalingLists(r *msbReader) {
	for size := range 4 {
		lists := 6
		if size == 3 {
			lists = 2
		}
		for range lists {
			if predicted := !r.flag(); predicted {
				r.golomb()
				continue
			}
			if size > 1 {
				r.golomb() // scaling_list_dc_coef_minus8
			}
			skipGolomb(r, min(64, 16<<(2*size)))
		}
	}
}

// skipReferenceSets skips all st_ref_pic_set. How long one is depends on those before it.
func skipReferenceSets(r *msbReader) {
	n := r.golomb()
	if n > maxHEVCShortSets {
		r.short = true
		return
	}
	var last []int // the distances of the pictures, past ones first, near ones first
	for i := range n {
		if r.short {
			return
		}
		if predicted := i > 0 && r.flag(); predicted {
			last = predictedSet(r, last)
			continue
		}
		past, future := r.golomb(), r.golomb()
		if past+future > maxHEVCPictures {
			r.short = true
			return
		}
		last = last[:0]
		at := 0
		for range past {
			at -= 1 + r.golomb()
			r.skip(1) // used_by_curr_pic_s0_flag
			last = append(last, at)
		}
		at = 0
		for range future {
			at += 1 + r.golomb()
			r.skip(1) // used_by_curr_pic_s1_flag
			last = append(last, at)
		}
	}
}

// predictedSet reads a set that is predicted from another, and returns its distances.
func predictedSet(r *msbReader, from []int) (set []int) {
	negative := r.flag() // delta_rps_sign
	delta := 1 + r.golomb()
	if negative {
		delta = -delta
	}
	for i := range len(from) + 1 {
		used := r.flag()         // used_by_curr_pic_flag
		kept := used || r.flag() // use_delta_flag
		at := delta
		if i < len(from) {
			at += from[i]
		}
		if kept && at != 0 {
			set = append(set, at)
		}
	}
	slices.SortFunc(set, func(a, b int) int {
		if a < 0 && b < 0 {
			return cmp.Compare(b, a)
		}
		return cmp.Compare(a, b)
	})
	return set
}

// vuiColour reads vui_parameters up to the colours. Without a video_signal_type, black is 16.
func vuiColour(r *msbReader) (c Colour) {
	if r.flag() && r.bits(8) == extendedSAR { // aspect_ratio_info_present_flag, aspect_ratio_idc
		r.skip(16 + 16)
	}
	if r.flag() { // overscan_info_present_flag
		r.skip(1)
	}
	narrow := true
	if r.flag() { // video_signal_type_present_flag
		r.skip(3) // video_format
		narrow = !r.flag()
		if r.flag() { // colour_description_present_flag
			c = r.description()
		}
	}
	c.Narrow = narrow
	return c
}
