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
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// build returns what this program is.
func build() buildInfo {
	b := buildInfo{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			b.Version = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
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
	}
	_, err := fmt.Fprintf(p.stdout, "imagetier-gateway %s%s, %s %s\n", b.Version, commit, b.Go, b.Platform)
	return err
}
