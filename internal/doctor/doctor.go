// Package doctor checks a machine against a configuration: what would be wrong, or slow,
// if the tier ran there, and how to fix it.
//
// A [Check] looks at one subject and changes nothing; [All] lists them. The command
// doctor runs all of them. A program can also run some of them when it starts.
package doctor

import "context"

// All returns every check, in the order in which people want to read the findings.
func All() []Check {
	return []Check{Settings, Codecs, Memory, OpenFiles, CacheDir, Ports, Sources}
}

// Run runs checks one after the other.
func Run(ctx context.Context, in Input, checks ...Check) (Report, error) {
	var r Report
	for _, check := range checks {
		r = append(r, check(ctx, in)...)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return r, nil
}
