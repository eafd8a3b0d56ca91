package settings

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Func returns a Value that reads with set and writes with get. What set changes is as if
// each call were the first.
func Func(set func(text string) error, get func() string) Value { return funcs{set, get} }

type funcs struct {
	set func(string) error
	get func() string
}

func (f funcs) Set(text string) error { return f.set(text) }
func (f funcs) String() string        { return f.get() }

// String returns the Value of a text.
func String(p *string) Value {
	return Func(func(text string) error { *p = text; return nil }, func() string { return *p })
}

// Bool returns the Value of true and false. As a flag it stands for true without a value.
func Bool(p *bool) Value { return boolean{p} }

type boolean struct{ p *bool }

// IsBool reports whether v is the Value of true and false.
func IsBool(v Value) bool {
	_, ok := v.(boolean)
	return ok
}

func (b boolean) Set(text string) error {
	switch text {
	case "true":
		*b.p = true
	case "false":
		*b.p = false
	default:
		return fmt.Errorf("%q: want true or false", text)
	}
	return nil
}

func (b boolean) String() string { return strconv.FormatBool(*b.p) }

// Int returns the Value of a whole number of at least least and at most most.
func Int(p *int, least, most int) Value {
	return Func(func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q: want a whole number from %d to %d", text, least, most)
		}
		*p = n
		return nil
	}, func() string { return strconv.Itoa(*p) })
}

// Choice returns the Value of one of words.
func Choice(p *string, words ...string) Value {
	return Func(func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("%q: want one of %s", text, strings.Join(words, ", "))
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// Duration returns the Value of a time as Go spells it (1h30m, 5s, 200ms), of at least least
// and at most most.
func Duration(p *time.Duration, least, most time.Duration) Value {
	return Func(func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			return fmt.Errorf("%q: want a time from %s to %s, like 200ms, 5s or 1h30m", text, FormatDuration(least), FormatDuration(most))
		}
		*p = d
		return nil
	}, func() string { return FormatDuration(*p) })
}

// FormatDuration spells a time without the zeros that Duration.String adds: 24h, not 24h0m0s.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Size returns the Value of a number of bytes (ParseSize) of at least least.
func Size(p *int64, least int64) Value {
	return Func(func(text string) error {
		n, err := ParseSize(text)
		if err != nil {
			return err
		}
		if n < least {
			return fmt.Errorf("%q: want at least %s", text, FormatSize(least))
		}
		*p = n
		return nil
	}, func() string { return FormatSize(*p) })
}

// sizeUnits are what may stand behind a size's number.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a number of bytes: 50GiB, 1.5GiB, 512MiB, 4KiB (powers of 1,024), 50GB
// (powers of 1,000), 4096. A unit that means both, like 50G or 50g, is refused.
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
	most := math.MaxInt64 / unit
	if dotted {
		most-- // room for the fraction
	}
	if err != nil || n > most {
		return 0, fmt.Errorf("%q: larger than a size can be", text)
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

// FormatSize spells a number of bytes exactly, in the largest unit that does.
func FormatSize(n int64) string {
	for _, u := range sizeUnits[:4] {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// List returns the Value of a list: a flag given more than once, a YAML list, or a text
// with commas. No item can have a comma. add reads one item, reset forgets all, and items
// gives them back; faults of several items are reported together.
func List(reset func(), add func(item string) error, items func() []string) Value {
	return list{reset, add, items}
}

type list struct {
	reset func()
	add   func(string) error
	items func() []string
}

func (l list) Set(text string) error {
	l.reset()
	if text == "" {
		return nil
	}
	var faults []error
	for item := range strings.SplitSeq(text, ",") {
		faults = append(faults, l.add(strings.TrimSpace(item)))
	}
	return errors.Join(faults...)
}

func (l list) String() string { return strings.Join(l.items(), ",") }
