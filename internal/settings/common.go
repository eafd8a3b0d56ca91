package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// Address returns the Value of an address to listen on: host:port, the host may be empty.
func Address(p *string) Value {
	return Func(func(text string) error {
		host, port, err := net.SplitHostPort(text)
		n, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errPort != nil || strconv.FormatUint(n, 10) != port || strings.ContainsAny(host, " /") {
			return fmt.Errorf("%q: want host:port, like 127.0.0.1:8080, [::1]:8080 or :8080", text)
		}
		*p = text
		return nil
	}, func() string { return *p })
}

// SameAddress reports whether two listeners would surely collide: they have one port, and
// one host or all hosts.
func SameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	sameHost := hostA == hostB || hostA == "" || hostB == ""
	return errA == nil && errB == nil && portA == portB && portA != "0" && sameHost
}

// Token returns the Value of a bearer token (RFC 6750, section 2.1).
func Token(p *string) Value {
	return Func(func(text string) error {
		for _, c := range []byte(text) {
			if c <= ' ' || c > '~' {
				return errors.New("want printable ASCII characters without blanks")
			}
		}
		*p = text
		return nil
	}, func() string { return *p })
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

// Items returns the Value of a list whose items parse reads and String spells.
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
