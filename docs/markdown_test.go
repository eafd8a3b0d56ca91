// Package docs has the tests of the documentation: links, commands and settings in it must exist, and
// pages made from the program must be current.
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// page is a Markdown file.
type page struct {
	path string // relative to the root of the repository
	text string
	code []string // fenced blocks and inline code
}

const root = ".."

var (
	fence  = regexp.MustCompile("(?ms)^ *```[a-z]*\n(.*?)^ *```$")
	inline = regexp.MustCompile("`[^`\n]+`")
	link   = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
)

// files returns every Markdown file that git tracks or would track, with all of its text.
func files(t *testing.T) (all []page) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard", "--", "*.md")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, page{path: path, text: string(text)})
	}
	return all
}

// pages returns every Markdown file, with the code apart from the text.
func pages(t *testing.T) (all []page) {
	t.Helper()
	for _, p := range files(t) {
		for _, block := range fence.FindAllStringSubmatch(p.text, -1) {
			p.code = append(p.code, block[1])
		}
		p.text = fence.ReplaceAllString(p.text, "")
		for line := range strings.Lines(p.text) { // blocks that are indented
			if code, ok := strings.CutPrefix(line, "    "); ok {
				p.code = append(p.code, code)
			}
		}
		for _, code := range inline.FindAllString(p.text, -1) {
			p.code = append(p.code, strings.Trim(code, "`"))
		}
		all = append(all, p)
	}
	return all
}

// anchors returns the fragments of a page's headings, as GitHub and mkdocs make them.
func anchors(text string) (all []string) {
	for line := range strings.Lines(text) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_':
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(heading)))
		all = append(all, slug)
	}
	return all
}

func TestPages_Links(t *testing.T) {
	text := map[string]string{}
	all := pages(t)
	for _, p := range all {
		text[p.path] = p.text
	}
	for _, p := range all {
		for _, found := range link.FindAllStringSubmatch(inline.ReplaceAllString(p.text, ""), -1) {
			target := found[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, fragment, _ := strings.Cut(target, "#")
			path := p.path
			if file != "" {
				path = filepath.Join(filepath.Dir(p.path), file)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil || strings.HasPrefix(path, "..") {
				t.Errorf("%s links to %s, which does not exist", p.path, target)
			} else if fragment != "" && strings.HasSuffix(path, ".md") &&
				!slices.Contains(anchors(text[path]), fragment) {
				t.Errorf("%s links to %s, which has no such heading", p.path, target)
			}
		}
	}
}

// program is a program of this project and its commands.
type program struct {
	prefix   string              // of environment variables
	commands map[string][]string // flags of each command
	flags    []string            // of all commands
}

var flag = regexp.MustCompile(`--[a-z][a-z0-9-]+`)

// newProgram reads the help texts in a directory, which another test keeps current.
func newProgram(t *testing.T, name, prefix, help string) program {
	t.Helper()
	p := program{prefix: prefix, commands: map[string][]string{"help": nil}}
	files, err := filepath.Glob(filepath.Join(root, help, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no help in %s (%v)", help, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var flags []string
		for _, f := range flag.FindAllString(string(text), -1) {
			flags = append(flags, f, f+"-file") // secrets can be files
		}
		command := strings.TrimPrefix(strings.TrimSuffix(filepath.Base(file), ".txt"), name)
		command = strings.TrimPrefix(command, "-")
		if strings.HasPrefix(command, "config-") { // config print is a part of config
			command = "config"
		}
		p.commands[command] = append(p.commands[command], flags...)
		p.flags = append(p.flags, flags...)
	}
	return p
}

// Commands, flags and variables in the documentation exist.
func TestPages_Commands(t *testing.T) {
	programs := map[string]program{
		"imagetier": newProgram(t, "imagetier", "IMAGETIER_", "cmd/imagetier/testdata/help"),
		"imagetier-gateway": newProgram(t, "imagetier-gateway", "IMAGETIER_GATEWAY_",
			"gateway/cmd/imagetier-gateway/testdata/help"),
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var (
		command  = regexp.MustCompile(`(?m)(?:^|[ /|])(imagetier(?:-gateway)?) +([a-z][a-z-]*)((?:\\\n|[^\n|;&])*)`)
		variable = regexp.MustCompile(`\bIMAGETIER_[A-Z0-9_]+`)
		target   = regexp.MustCompile(`(?m)^ *\$? ?make ([a-z0-9-]+)`)
	)
	for _, p := range pages(t) {
		if p.path == "CHANGELOG.md" {
			continue // about removed settings
		}
		for _, code := range p.code {
			for _, m := range command.FindAllStringSubmatch(code, -1) {
				prog := programs[m[1]]
				flags, ok := prog.commands[m[2]]
				if !ok {
					t.Errorf("%s: there is no command %s %s", p.path, m[1], m[2])
				}
				for _, f := range flag.FindAllString(m[3], -1) {
					if !slices.Contains(flags, f) {
						t.Errorf("%s: %s %s has no flag %s", p.path, m[1], m[2], f)
					}
				}
			}
			for _, name := range variable.FindAllString(code, -1) {
				if !hasVariable(programs, name) {
					t.Errorf("%s: no program reads %s", p.path, name)
				}
			}
			for _, m := range target.FindAllStringSubmatch(code, -1) {
				if !strings.Contains(string(makefile), "\n"+m[1]+":") {
					t.Errorf("%s: the Makefile has no target %s", p.path, m[1])
				}
			}
		}
	}
}

func hasVariable(programs map[string]program, name string) bool {
	if name == "IMAGETIER_TOOLS" || name == "IMAGETIER_PHOTOS" || strings.HasSuffix(name, "_") {
		return true
	}
	for _, p := range programs {
		if rest, ok := strings.CutPrefix(name, p.prefix); ok &&
			slices.Contains(p.flags, "--"+strings.ReplaceAll(strings.ToLower(rest), "_", "-")) {
			return true
		}
	}
	return false
}

// Each alert has an entry in the runbook, and each entry an alert.
func TestAlerts_HaveEntries(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile("operate/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern string, text []byte) (all []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
		slices.Sort(all)
		return all
	}
	alerts, entries := names(`- alert: (\w+)`, rules), names(`(?m)^### (\w+)$`, book)
	if len(alerts) == 0 || !slices.Equal(alerts, entries) {
		t.Errorf("alerts\n%q, entries\n%q", alerts, entries)
	}
}

// Metrics in the documentation exist: their names, without prefix and suffix, are in the code.
func TestPages_Metrics(t *testing.T) {
	var code strings.Builder
	for _, pattern := range []string{"internal/*/*.go", "prefetch/*/*.go", "gateway/cmd/imagetier-gateway/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	metric := regexp.MustCompile(`\bimagetier_(?:gateway_)?([a-z0-9_]+)`)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, p := range pages(t) {
		if p.path == "CHANGELOG.md" {
			continue
		}
		for _, text := range p.code {
			for _, m := range metric.FindAllStringSubmatch(text, -1) {
				if !strings.Contains(code.String(), `"`+suffix.ReplaceAllString(m[1], "")+`"`) {
					t.Errorf("%s: there is no metric %s", p.path, m[0])
				}
			}
		}
	}
}
