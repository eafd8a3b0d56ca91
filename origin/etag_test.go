package origin_test

import (
	"errors"
	"testing"

	"github.com/novasocial/imagetier/origin"
)

func TestETag_Compare(t *testing.T) {
	for _, c := range []struct {
		match, etag string
		ok          bool
	}{
		{"", "", true}, {"", `W/"x"`, true},
		{"a", `"a"`, true}, {"a-2", `"a-2"`, true}, {"W/", `"W/"`, true}, {"\xff", "\"\xff\"", true},
		{"a", `"b"`, false}, {"a", "", false}, {"a", `W/"a"`, false}, {"a", "a", false}, {"a", `"A"`, false},
		{`a"`, `"a""`, false}, {"a b", `"a b"`, false}, {"a\r\nx", "\"a\r\nx\"", false},
	} {
		if err := (origin.Cond{Match: c.match}).CheckETag(c.etag); (err == nil) != c.ok ||
			err != nil && !errors.Is(err, origin.ErrChanged) {
			t.Errorf("%q against %s: %v", c.match, c.etag, err)
		}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`"a"`, `"a"`, true}, {`W/"a"`, `"a"`, true}, {`"a"`, `W/"a"`, true},
		{`W/"a"`, `W/"a"`, true}, {`""`, `""`, true},
		{"", "", false}, {"a", "a", false}, {`"a"`, `"b"`, false}, {`w/"a"`, `w/"a"`, false}, {`"`, `"`, false},
	} {
		if origin.SameETag(c.a, c.b) != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.same)
		}
	}
}
