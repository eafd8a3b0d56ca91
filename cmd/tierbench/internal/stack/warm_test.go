package stack

import (
	"bufio"
	"strings"
	"testing"
)

func TestWarm_Failure(t *testing.T) {
	for lines, good := range map[string]bool{
		`{"path":"/a","outcome":"made"}` + "\n\n" + `{"path":"/b","outcome":"hit"}`:  true,
		`{"path":"/a","outcome":"made"}`:                                             false, // of two images
		`{"path":"/a","outcome":"made"}` + "\n" + `{"path":"/b","outcome":"failed"}`: false,
		`<html>`: false,
	} {
		if err := readWarmed(bufio.NewScanner(strings.NewReader(lines)), 2); (err == nil) != good {
			t.Errorf("%s: %v", lines, err)
		}
	}
}
