// Command checkwords reports words that the files of this repository avoid because readers have
// stumbled over them, and references to documents that are not in it. make lint runs it. The
// list is ruledOut.
//
// Usage: checkwords [path...], relative to the root of the repository. Without paths it checks
// every file that git tracks.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// ruledOut lists regular expressions, matched against whole words in any case unless they
// begin with (?-i).
var ruledOut = []string{
	`(?-i:nobody|Nobody)`, `somebody`, `whoever`, `whomever`, // name the subject: the client, the caller
	`that (is|are) none`,          // "invalid", "missing"
	`(is|are|was|were|been) told`, // "receives", "is notified of"
	`told (of|about)`,
	`dear(er|est)?`,         // expensive
	`mend(s|ed|ing)?`,       // fix, repair
	`of before`,             // previous, old
	`kitchen|shelf|shelves`, // metaphors
	`(?-i)CONTRACT|SEED|FIELD\.md|HOUSE`,
	`(?-i)G[0-9]{1,2}`,
}

// exempt lists beginnings of paths that are not checked: licences and generated files of
// others, and this list.
var exempt = []string{
	"LICENSE", "deploy/checkwords/", "resize/vips/cascade/", "deploy/photos/copyright",
}

var pattern = regexp.MustCompile(`(?i)\b(` + strings.Join(ruledOut, "|") + `)\b`)

func main() {
	paths, err := tracked(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "checkwords:", err)
		os.Exit(2)
	}
	found := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // deleted, not yet committed
		}
		for _, f := range check(path, text) {
			fmt.Println(f)
			found++
		}
	}
	if found > 0 {
		fmt.Fprintf(os.Stderr, "checkwords: %d lines to reword; deploy/checkwords lists the words and why\n", found)
		os.Exit(1)
	}
}

// tracked returns the files that git tracks below these paths.
func tracked(paths []string) ([]string, error) {
	out, err := exec.Command("git", append([]string{"ls-files", "-z", "--"}, paths...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	return strings.Split(strings.TrimRight(string(out), "\x00"), "\x00"), nil
}

// check returns "path:line: word: text" for each line of a file with a ruled-out word. Binary
// files, SVGs and checksums of modules have no words.
func check(path string, text []byte) (findings []string) {
	for _, prefix := range exempt {
		if strings.HasPrefix(path, prefix) {
			return nil
		}
	}
	if strings.HasSuffix(path, ".svg") || strings.HasSuffix(path, "go.sum") || bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		if word := pattern.FindString(line); word != "" {
			findings = append(findings, fmt.Sprintf("%s:%d: %s: %s", path, number, word, strings.TrimSpace(line)))
		}
	}
	return findings
}
