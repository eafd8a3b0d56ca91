package program

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd prints the build of this program.
type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`

	program Program
}

// BuildInfo says which build this program is.
type BuildInfo struct {
	Version  string `json:"version"` // of the release, else of the module; "devel" if unknown
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"` // of the commit
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version is that of a release. make sets it: -ldflags "-X …/internal/program.version=0.1.0".
var version string

// Build returns the build of the running program.
func Build() BuildInfo {
	b := BuildInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	switch v := info.Main.Version; {
	case version != "":
		b.Version = version
	case v != "" && v != "(devel)":
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// Help implements kong.HelpProvider.
func (c versionCmd) Help() string {
	return fmt.Sprintf("With the commit, the version of Go and the platform.\n\n    %[1]s version\n    %[1]s version --json", c.program.Name)
}

// Run prints.
func (c *versionCmd) Run(proc *Process) error {
	b := Build()
	if c.JSON {
		return json.NewEncoder(proc.Stdout).Encode(b)
	}
	commit := ""
	if b.Commit != "" {
		commit = " " + b.Commit
		if b.Modified {
			commit += " (modified)"
		}
	}
	_, err := fmt.Fprintf(proc.Stdout, "%s %s%s, %s %s\n", proc.name, b.Version, commit, b.Go, b.Platform)
	return err
}
