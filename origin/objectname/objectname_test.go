package objectname

import (
	"errors"
	"testing"
)

func TestKind_Check_Dir(t *testing.T) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/./b",
		"a/../b", "a/..", "a/.", "\x00", "a\x00", "..\x00",
	} {
		if err := Dir.Check(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"a", "a/b", "...", "..a/b..", ".a", "a b", "é", "~", `a\..\b`, "a/%2e%2e/b"} {
		if err := Dir.Check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
