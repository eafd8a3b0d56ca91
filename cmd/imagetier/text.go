package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/program"
)

// eachLine calls do with every argument, and with every line of standard input for "-".
func eachLine(ctx context.Context, p *program.Process, args []string, do func(string) error) error {
	for _, arg := range args {
		if arg != "-" {
			if err := do(arg); err != nil {
				return err
			}
			continue
		}
		lines := bufio.NewScanner(p.Stdin)
		for lines.Scan() && ctx.Err() == nil {
			if err := do(lines.Text()); err != nil {
				return err
			}
		}
		if err := lines.Err(); err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
	}
	return ctx.Err()
}

// printable quotes a name that holds characters a terminal would interpret.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// versionText returns a version and what it means.
func versionText(version string) string {
	for begins, promise := range map[string]string{
		"v.": "fixed: the image never changes", "e.": "the original with this ETag",
		"s.": "this S3 object version", "live": "the current original",
	} {
		if strings.HasPrefix(version, begins) {
			return version + " (" + promise + ")"
		}
	}
	return version
}

// printCompact prints an answer of the tier on one line.
func printCompact(p *program.Process, text json.RawMessage) error {
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.Stdout, line.String())
	return err
}

// keyIDs returns the ids of keys.
func keyIDs(keys []imageurl.Key) map[string]bool {
	ids := make(map[string]bool, len(keys))
	for _, k := range keys {
		ids[k.ID] = true
	}
	return ids
}
