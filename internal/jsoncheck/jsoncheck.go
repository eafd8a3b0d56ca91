// Package jsoncheck checks JSON for what encoding/json accepts and should not: names that occur twice in an object, and
// lists that take much more memory than their text. Of repeated names encoding/json takes the last, so a request would
// do half of what its sender meant. It reads a list as a whole: {} in a list takes 3 bytes of text and the size of a
// struct in memory.
package jsoncheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of any text.
const (
	maxDepth = 10_000 // as encoding/json
	maxNames = 10_000 // of the objects that are open at the same time, which have to be remembered
)

// Limits are how many items lists may have, by their path. A path has the names of the enclosing objects, joined by
// dots, without indices: "data.posts" or "images.tags". As in encoding/json, case makes no difference.
type Limits map[string]int

// LengthError means that a list is too long.
type LengthError struct {
	Path string // as the text spells it, with indices: "data.posts[3].image.tags"
	Max  int
}

// Error names the list and the limit.
func (e *LengthError) Error() string {
	return fmt.Sprintf("%.64s: it has more than %d items", e.Path, e.Max)
}

// Check returns an error if text does not begin with a valid JSON value, if an object in it has a name twice, or if a
// list is too long; the latter is a *LengthError. It needs little memory besides text. A text that passes may be
// followed by anything.
func Check(text []byte, limits Limits) error {
	c := &checker{dec: json.NewDecoder(bytes.NewReader(text))}
	return c.value(limits, 0)
}

// checker reads tokens.
type checker struct {
	dec   *json.Decoder
	names int // of the open objects
}

// value reads one value; limits has paths that are relative to it.
func (c *checker) value(limits Limits, depth int) error {
	token, err := c.dec.Token()
	if err != nil {
		return err
	}
	switch {
	case depth > maxDepth:
		return fmt.Errorf("it is nested deeper than %d levels", maxDepth)
	case token == json.Delim('{'):
		err = c.object(limits, depth)
	case token == json.Delim('['):
		err = c.list(limits, depth)
	default:
		return nil
	}
	if err == nil {
		_, err = c.dec.Token() // the closing bracket
	}
	return err
}

func (c *checker) object(limits Limits, depth int) error {
	names := make(map[string]bool)
	for c.dec.More() {
		token, err := c.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		if names[name] {
			return fmt.Errorf("the name %.64q occurs twice in an object", name)
		}
		if c.names++; c.names > maxNames {
			return fmt.Errorf("its objects have more than %d names", maxNames)
		}
		names[name] = true
		if err := c.value(limits.below(name), depth+1); err != nil {
			return below(name, err)
		}
	}
	c.names -= len(names)
	return nil
}

func (c *checker) list(limits Limits, depth int) error {
	most, limited := limits[""]
	for n := 0; c.dec.More(); n++ {
		if limited && n == most {
			return &LengthError{Max: most}
		}
		if err := c.value(limits, depth+1); err != nil {
			return below("["+strconv.Itoa(n)+"]", err)
		}
	}
	return nil
}

// below prepends the name of the enclosing value to the path of a LengthError.
func below(name string, err error) error {
	var long *LengthError
	switch {
	case !errors.As(err, &long):
	case long.Path == "" || long.Path[0] == '[':
		long.Path = name + long.Path
	default:
		long.Path = name + "." + long.Path
	}
	return err
}

// below returns the limits of the member with that name, with paths relative to it.
func (l Limits) below(name string) Limits {
	var found Limits
	for path, most := range l {
		first, rest, _ := strings.Cut(path, ".")
		if first == "" || !strings.EqualFold(first, name) {
			continue
		}
		if found == nil {
			found = make(Limits)
		}
		found[rest] = most
	}
	return found
}
