package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value reads a setting's text and stores it where the program wants it.
type Value interface {
	// Set reads text. The error says what is expected and never contains a secret.
	Set(text string) error
	// String returns the current value as Set would read it.
	String() string
}

// Func returns a Value that reads with set and formats with get. set must not depend on earlier calls.
func Func(set func(text string) error, get func() string) Value { return funcs{set, get} }

type funcs struct {
	set func(string) error
	get func() string
}

func (f funcs) Set(text string) error { return f.set(text) }
func (f funcs) String() string        { return f.get() }

// Checked returns the Value of a text for which check returns no error.
func Checked(p *string, check func(text string) error) Value {
	return Func(func(text string) error {
		err := check(text)
		if err == nil {
			*p = text
		}
		return err
	}, func() string { return *p })
}

// String returns the Value of any text.
func String(p *string) Value { return Checked(p, func(string) error { return nil }) }

// Bool returns the Value of true and false. A flag without a value means true.
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

// Int returns the Value of a whole number from low to high.
func Int(p *int, low, high int) Value {
	return Func(func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q: want a whole number from %d to %d", text, low, high)
		}
		*p = n
		return nil
	}, func() string { return strconv.Itoa(*p) })
}

// Choice returns the Value of one of a list of words.
func Choice(p *string, words ...string) Value {
	return Checked(p, func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("%q: want one of %s", text, strings.Join(words, ", "))
		}
		return nil
	})
}

// Duration returns the Value of a Go duration (1h30m, 5s, 200ms) from low to high.
func Duration(p *time.Duration, low, high time.Duration) Value {
	return Func(func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < low || d > high {
			return fmt.Errorf("%q: want a time from %s to %s, like 200ms, 5s or 1h30m",
				text, FormatDuration(low), FormatDuration(high))
		}
		*p = d
		return nil
	}, func() string { return FormatDuration(*p) })
}

// FormatDuration formats a duration without the zeros that Duration.String adds: 24h, not 24h0m0s.
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

// List returns the Value of a list: a flag given more than once, a YAML list, or a text
// with commas. An item cannot contain a comma. reset empties the list, add parses and appends one item, and items
// returns all of them as text. Faults of several items are reported together.
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

// Items returns the Value of a list whose items are parsed by parse and formatted by their String method.
func Items[T fmt.Stringer](p *[]T, parse func(string) (T, error)) Value {
	return List(func() { *p = nil }, func(text string) error {
		item, err := parse(text)
		if err == nil {
			*p = append(*p, item)
		}
		return err
	}, func() (all []string) {
		for _, item := range *p {
			all = append(all, item.String())
		}
		return all
	})
}

// Address returns the Value of an address to listen on: host:port, where the host may be empty.
func Address(p *string) Value {
	return Checked(p, func(text string) error {
		host, port, err := net.SplitHostPort(text)
		n, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errPort != nil || strconv.FormatUint(n, 10) != port || strings.ContainsAny(host, " /") {
			return fmt.Errorf("%q: want host:port, like 127.0.0.1:8080, [::1]:8080 or :8080", text)
		}
		return nil
	})
}

// MinToken is the minimum length of a token, in bytes: 16 hex digits are 64 bits, which cannot be guessed over a
// network.
const MinToken = 16

// Token returns the Value of a bearer token (RFC 6750, section 2.1) of at least [MinToken] bytes.
func Token(p *string) Value {
	return WholeSecret(Checked(p, func(text string) error {
		if text != "" && len(text) < MinToken {
			return fmt.Errorf("has %d bytes, at least %d are required, as `openssl rand -hex 16` prints them",
				len(text), MinToken)
		}
		if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return errors.New("want printable ASCII characters without spaces")
		}
		return nil
	}))
}

// SameAddress reports whether two listeners certainly conflict: they have the same port, and the same host or one of
// them has all hosts.
func SameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	sameHost := hostA == hostB || hostA == "" || hostB == ""
	return errA == nil && errB == nil && portA == portB && portA != "0" && sameHost
}

// Level returns the Value of a log level.
func Level(p *slog.Level) Value {
	return Func(func(text string) error {
		for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			if strings.ToLower(l.String()) == text {
				*p = l
				return nil
			}
		}
		return fmt.Errorf("%q: want debug, info, warn or error", text)
	}, func() string { return strings.ToLower(p.String()) })
}
