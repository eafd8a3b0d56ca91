package vips

// #include <stdlib.h>
// #include "direct_scale.h"
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

// room is how far the scaler reads and writes past the end of a line.
const room = C.TIER_ROOM

// scaleLines scales lines of samples, each followed by room, to one line of n samples: first
// vertically by the given weights, then horizontally. It does so with vector instructions, if
// available, and in plain C; the results must be equal. It is for tests: the resizer calls the C
// code directly.
func scaleLines(lines [][]byte, n int) (fast, plain []byte, err error) {
	length := len(lines[0]) - room
	var down, across C.struct_tier_axis
	defer C.tier_axis_clear(&down)
	defer C.tier_axis_clear(&across)
	if C.tier_axis_make(&down, C.int(len(lines)), C.double(len(lines)), 0, 1) != 0 ||
		C.tier_axis_make(&across, C.int(length), C.double(length)/C.double(n), 0, C.int(n)) != 0 {
		return nil, nil, fmt.Errorf("%w: no memory", resize.ErrFailed)
	}
	taps := (int(down.taps) + 1) &^ 1
	rows := unsafe.Slice((**C.uchar)(C.calloc(C.size_t(taps), C.size_t(unsafe.Sizeof(uintptr(0))))), taps)
	defer C.free(unsafe.Pointer(unsafe.SliceData(rows)))
	for k := range rows {
		rows[k] = (*C.uchar)(C.CBytes(lines[min(k, len(lines)-1)]))
		defer C.free(unsafe.Pointer(rows[k]))
	}
	between, betweenPlain := make([]C.int16_t, length+2*room), make([]C.int16_t, length+2*room)
	fast, plain = make([]byte, n+room), make([]byte, n+room)
	C.tier_down(unsafe.SliceData(rows), down.weight, C.int(taps), C.int(length), unsafe.SliceData(between))
	C.tier_down_plain(unsafe.SliceData(rows), down.weight, C.int(taps), C.int(length), unsafe.SliceData(betweenPlain))
	C.tier_across(unsafe.SliceData(between), &across, (*C.uchar)(unsafe.SliceData(fast)))
	C.tier_across_plain(unsafe.SliceData(betweenPlain), &across, (*C.uchar)(unsafe.SliceData(plain)))
	return fast[:n], plain[:n], nil
}
