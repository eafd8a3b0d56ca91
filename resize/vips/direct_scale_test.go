package vips

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestDirectScale_SIMDEqualsScalar(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct{ lines, length, n int }{
		{1, 8, 8}, {2, 9, 3}, {3, 40, 41}, {7, 100, 63}, {12, 1008, 640},
		{16, 4000, 201}, {5, 33, 1}, {4, 2, 1}, {9, 77, 76},
	} {
		lines := make([][]byte, c.lines)
		for i := range lines {
			lines[i] = make([]byte, c.length+room)
			for x := range lines[i] {
				lines[i][x] = byte(255 * random.IntN(2)) // black and white: all that can overshoot does
			}
		}
		fast, plain, err := scaleLines(lines, c.n)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fast, plain) {
			t.Errorf("%d lines of %d samples, to %d: vectors make something else", c.lines, c.length, c.n)
		}
	}
}

func TestDirectScale_UniformImageStaysUniform(t *testing.T) {
	for v := range 256 {
		lines := [][]byte{
			bytes.Repeat([]byte{byte(v)}, 300+room),
			bytes.Repeat([]byte{byte(v)}, 300+room),
			bytes.Repeat([]byte{byte(v)}, 300+room),
		}
		fast, _, err := scaleLines(lines, 171)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(fast, bytes.Repeat([]byte{byte(v)}, 171)) {
			t.Fatalf("a uniform image of %d becomes %v", v, fast[:8])
		}
	}
}
