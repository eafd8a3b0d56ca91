package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the linker (-X main.release=1.2.3) where a release is built.
var release string

// versionCmd prints what this program is.
type versionCmd struct {
	JSON bool `name:"json" help:"Print an object."`
}

// buildInfo is what the program knows of its making.
type buildInfo struct {
	Version  string `json:"version"` // of the release, else of the module; "devel" where neither is known
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"` // of the commit
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// build returns what this program is.
func build() buildInfo {
	b := buildInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
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
	}
	if release != "" {
		b.Version = release
	}
	return b
}

// Run prints.
func (c *versionCmd) Run(p *program) error {
	b := build()
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(b)
	}
	commit := ""
	if b.Commit != "" {
		commit = " " + b.Commit
		if b.Modified {
			commit += " (modified)"
		}
	}
	_, err := fmt.Fprintf(p.stdout, "imagetier %s%s, %s %s\n", b.Version, commit, b.Go, b.Platform)
	return err
}
