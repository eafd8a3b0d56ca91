// Package finding has the findings of the doctor commands of both programs.
package finding

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Level is how bad a finding is.
type Level string

// Levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // the program works, but not as well or as safely as it could
	Fault   Level = "fault"   // something will fail
)

// Finding is the result of a check about one subject.
type Finding struct {
	Name  string `json:"name"` // of the subject: "source posts"
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Fix   string `json:"fix,omitempty"` // what to do, unless Level is OK
}

// Report lists findings.
type Report []Finding

// Count returns how many findings have that level.
func (r Report) Count(level Level) (n int) {
	for _, f := range r {
		if f.Level == level {
			n++
		}
	}
	return n
}

// Worst returns the worst level; OK if there are no findings.
func (r Report) Worst() Level {
	switch {
	case r.Count(Fault) > 0:
		return Fault
	case r.Count(Warning) > 0:
		return Warning
	}
	return OK
}

// Write writes the report for people, or as JSON.
func (r Report) Write(w io.Writer, asJSON bool) error {
	faults, warnings := r.Count(Fault), r.Count(Warning)
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"worst": r.Worst(), "faults": faults, "warnings": warnings, "findings": r})
	}
	var b strings.Builder
	for _, f := range r {
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Level, f.Name, f.Text)
		if f.Fix != "" {
			fmt.Fprintf(&b, "         fix: %s\n", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\nfaults: %d, warnings: %d\n", faults, warnings)
	_, err := io.WriteString(w, b.String())
	return err
}

// Good returns a finding of level OK.
func Good(name, format string, args ...any) Finding {
	return Finding{Name: name, Level: OK, Text: fmt.Sprintf(format, args...)}
}

// Warn returns a finding of level Warning, with what to do about it.
func Warn(name, fix, format string, args ...any) Finding {
	return Finding{Name: name, Level: Warning, Fix: fix, Text: fmt.Sprintf(format, args...)}
}

// Bad returns a finding of level Fault, with what to do about it.
func Bad(name, fix, format string, args ...any) Finding {
	return Finding{Name: name, Level: Fault, Fix: fix, Text: fmt.Sprintf(format, args...)}
}
