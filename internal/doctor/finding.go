package doctor

import (
	"context"
	"fmt"

	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/settings"
)

// Input is what checks look at.
type Input struct {
	Config   config.Config
	Resolved *settings.Resolved // where Config came from
}

// Check looks at one subject. If ctx ends first, its findings mean nothing.
type Check func(ctx context.Context, in Input) []Finding

// Level is how bad a finding is.
type Level string

const (
	OK      Level = "ok"
	Warning Level = "warning" // the tier works, but not as well or as safely as it could
	Fault   Level = "fault"   // something will fail
)

// Finding is what a check found out about one subject.
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

func ok(name, format string, args ...any) Finding {
	return Finding{Name: name, Level: OK, Text: fmt.Sprintf(format, args...)}
}

func warning(name, fix, format string, args ...any) Finding {
	return Finding{Name: name, Level: Warning, Fix: fix, Text: fmt.Sprintf(format, args...)}
}

func fault(name, fix, format string, args ...any) Finding {
	return Finding{Name: name, Level: Fault, Fix: fix, Text: fmt.Sprintf(format, args...)}
}
