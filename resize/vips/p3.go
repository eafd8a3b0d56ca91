package vips

// #include "vips.h"
import "C"

import (
	"encoding/binary"
	"unicode/utf16"
)

// displayP3 is the profile that p3 embeds: ICC.1 version 4 with three primaries and one parametric
// curve. A curve as a table would take most of a thumbnail's bytes.
var displayP3 = compactProfile("Display P3", [3][3]int32{
	{33759, 15807, -69},  // red
	{19135, 45367, 2745}, // green
	{10296, 4363, 51385}, // blue
}, [5]int32{
	157286, // 2.4
	62119,  // 1/1.055
	3417,   // 0.055/1.055
	5072,   // 1/12.92
	2651,   // 0.04045
})

// d50 is the white point of all profiles (ICC.1:2022, 7.2.16), in units of 1/65536 as everywhere here.
var d50 = [3]int32{63190, 65536, 54061}

// compactProfile returns a profile with primaries that are adapted from D65 to D50 and a curve
// ((a·x+b)^g, or c·x below d), whose parameters are in the order g a b c d (ICC.1:2022, 10.18,
// function 3).
func compactProfile(name string, primaries [3][3]int32, curve [5]int32) []byte {
	be := binary.BigEndian
	numbers := func(typ string, values ...int32) []byte {
		b := append([]byte(typ), 0, 0, 0, 0)
		for _, v := range values {
			b = be.AppendUint32(b, uint32(v))
		}
		return b
	}
	text := func(s string) []byte {
		units := utf16.Encode([]rune(s))
		b := numbers("mluc", 1, 12, 'e'<<24|'n'<<16|'U'<<8|'S', int32(2*len(units)), 28)
		for _, u := range units {
			b = be.AppendUint16(b, u)
		}
		return b
	}
	// Bradford's matrix from D65 to D50, as in annex E of the standard.
	adaptation := numbers("sf32", 68674, 1502, -3290, 1939, 64912, -1118, -605, 988, 49262)
	shared := append(numbers("para"), 0, 3, 0, 0)
	for _, v := range curve {
		shared = be.AppendUint32(shared, uint32(v))
	}
	tags := []struct {
		name string
		body []byte // if empty, shares that of the previous tag
	}{
		{"desc", text(name)}, {"cprt", text("CC0")},
		{"wtpt", numbers("XYZ ", d50[:]...)}, {"chad", adaptation},
		{
			"rXYZ",
			numbers("XYZ ", primaries[0][:]...),
		}, {"gXYZ", numbers("XYZ ", primaries[1][:]...)}, {"bXYZ", numbers("XYZ ", primaries[2][:]...)},
		{"rTRC", shared}, {"gTRC", nil}, {"bTRC", nil},
	}

	head := make([]byte, 128)
	be.PutUint32(head[8:], 0x04200000)
	copy(head[12:], "mntrRGB XYZ ")
	for i, v := range [6]uint16{2026, 1, 1} { // a creation date is mandatory
		be.PutUint16(head[24+2*i:], v)
	}
	copy(head[36:], "acsp")
	copy(head[68:], numbers("", d50[:]...)[4:])
	table := be.AppendUint32(nil, uint32(len(tags)))
	first := len(head) + 4 + 12*len(tags)
	var bodies []byte
	at, length := 0, 0
	for _, tag := range tags {
		if len(tag.body) > 0 {
			for len(bodies)%4 != 0 {
				bodies = append(bodies, 0)
			}
			at, length = first+len(bodies), len(tag.body)
			bodies = append(bodies, tag.body...)
		}
		table = be.AppendUint32(be.AppendUint32(append(table, tag.name...), uint32(at)), uint32(length))
	}
	for len(bodies)%4 != 0 {
		bodies = append(bodies, 0)
	}
	profile := append(append(head, table...), bodies...)
	be.PutUint32(profile, uint32(len(profile)))
	return profile
}
