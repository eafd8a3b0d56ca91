// Package doctor checks a machine against a configuration: what would be wrong, or slow,
// if the tier ran there, and how to fix it.
//
// A [Check] looks at one subject and changes nothing; [All] lists them. The command
// doctor runs all of them, and serve those of [Running] once after its start.
package doctor

import "context"

// All returns every check, in the order in which people want to read the findings.
func All() []Check {
	return []Check{Settings, Codecs, Memory, OpenFiles, CacheDir, CacheLock, Ports, Sources, Services}
}

// Running returns the checks for the process that serves with these settings: all except those that would find
// the process itself, such as a port in use.
func Running() []Check {
	return []Check{Settings, Codecs, Memory, OpenFiles, CacheDir, Sources, Services}
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
