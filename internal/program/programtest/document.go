package programtest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/internal/testutil"
)

// uncommented is a line of a sample that sets something.
var uncommented = regexp.MustCompile(`(?m)^#([a-z][a-z0-9.-]*): `)

// Document checks the section settings of a page and the sample of a configuration file. UPDATE=1
// in the environment writes them. The sample must have every setting with its default.
func Document(t *testing.T, schema func() *settings.Schema, page, sample, about string) {
	t.Helper()
	testutil.Section(t, page, "settings", schema().Markdown())
	text := about + "\n" + schema().SampleYAML()
	testutil.File(t, sample, text)

	defaults, hasDefault := schema(), map[string]bool{}
	for _, x := range defaults.Settings {
		hasDefault[defaults.Key(x.Name)] = !x.Secret && x.Default != ""
	}
	var keys []string
	file := filepath.Join(t.TempDir(), "sample.yaml")
	var set strings.Builder
	for line := range strings.Lines(text) {
		m := uncommented.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		keys = append(keys, m[1])
		if hasDefault[m[1]] {
			set.WriteString(line[1:])
		}
	}
	if err := os.WriteFile(file, []byte(set.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	without := defaults.Resolve(settings.Input{})
	with := schema().Resolve(settings.Input{Flags: map[string][]string{settings.ConfigName: {file}}})
	if err := with.Err(); err != nil {
		t.Fatalf("%s: %v", sample, err)
	}
	for _, x := range defaults.Settings {
		if x.Name == settings.ConfigName {
			continue
		}
		key := defaults.Key(x.Name)
		if x.Secret {
			key = defaults.Key(settings.FileOf(x.Name))
		}
		if !slices.Contains(keys, key) {
			t.Errorf("%s lacks %s", sample, key)
		}
		if !x.Secret && with.Text(x.Name) != without.Text(x.Name) {
			t.Errorf("%s: %s is %s, and the default %s", sample, key, with.Text(x.Name), without.Text(x.Name))
		}
	}
}
