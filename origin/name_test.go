package origin

import (
	"errors"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/./b",
		"a/../b", "a/..", "a/.", "\x00", "a\x00", "..\x00",
	} {
		if err := CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "a/b", "...", "..a/b..", ".a", "a b", "é", "~", `a\..\b`, "a/%2e%2e/b"} {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
