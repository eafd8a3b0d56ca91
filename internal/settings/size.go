package settings

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size returns the Value of a number of bytes (see [ParseSize]) that is at least low.
func Size(p *int64, low int64) Value {
	return Func(func(text string) error {
		n, err := ParseSize(text)
		if err != nil {
			return err
		}
		if n < low {
			return fmt.Errorf("%q: want at least %s", text, FormatSize(low))
		}
		*p = n
		return nil
	}, func() string { return FormatSize(*p) })
}

// sizeUnits are the units of a size, the longest names first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize parses a number of bytes: 50GiB, 1.5GiB, 512MiB, 4KiB (powers of 1,024), 50GB
// (powers of 1,000), 4096. Ambiguous units, like 50G or 50g, are rejected.
func ParseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = rest, u.bytes
			break
		}
	}
	whole, fraction, dotted := strings.Cut(number, ".")
	bad := fmt.Errorf("%q: want a size like 50GiB, 512MiB or 1.5GB", text)
	if !digits(whole) || dotted && (!digits(fraction) || len(fraction) > 6) {
		return 0, bad
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	high := math.MaxInt64 / unit
	if dotted {
		high-- // room for the fraction
	}
	if err != nil || n > high {
		return 0, fmt.Errorf("%q: too large for a number of bytes", text)
	}
	n *= unit
	if dotted {
		part, _ := strconv.ParseInt(fraction, 10, 64)
		scale := int64(math.Pow10(len(fraction)))
		// Both factors are at most 2^40, so the remainder keeps the product small.
		n += unit/scale*part + unit%scale*part/scale
	}
	return n, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// FormatSize formats a number of bytes exactly, in the largest unit that can.
func FormatSize(n int64) string {
	for _, u := range sizeUnits[:4] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
