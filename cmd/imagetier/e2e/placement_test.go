package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// rule computes the key of a balancer: the rewrite of a matching path.
type rule struct{ match, rewrite *regexp.Regexp }

// rulesOf reads regular expressions from a configuration, in order. Those of nginx and Envoy have
// the same meaning in Go.
func rulesOf(t *testing.T, file string, line *regexp.Regexp, unescape *strings.Replacer) (all []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range line.FindAllStringSubmatch(string(text), -1) {
		all = append(all, unescape.Replace(found[1]))
	}
	return all
}

// All variants of an original have the same key, and other originals have other keys. orig has no
// format after its name.
func TestBalancers_HashByOriginal(t *testing.T) {
	envoy := "../../../deploy/envoy/envoy.yaml"
	yaml := strings.NewReplacer(`\\`, `\`)
	matches := rulesOf(t, envoy, regexp.MustCompile(`match: \{ safe_regex: \{ regex: "(.*)" \} \}`), yaml)
	rewrites := rulesOf(t, envoy, regexp.MustCompile(`pattern: \{ regex: "(.*)" \}`), yaml)
	nginx := rulesOf(
		t,
		"../../../deploy/nginx/imagetier.conf",
		regexp.MustCompile(`(?m)^\s+"~(\^/i/.*)"\s`),
		strings.NewReplacer("(?<", "(?P<"),
	)
	if len(matches) != 2 || len(rewrites) != 2 || len(nginx) != 2 {
		t.Fatalf("%q %q %q", matches, rewrites, nginx)
	}
	balancers := map[string][]rule{}
	for i := range 2 {
		// Envoy matches the whole path, without its query; the rewrite has all of it.
		balancers["envoy"] = append(
			balancers["envoy"],
			rule{regexp.MustCompile("^(?:" + matches[i] + ")$"), regexp.MustCompile(rewrites[i])},
		)
		balancers["nginx"] = append(
			balancers["nginx"],
			rule{regexp.MustCompile(nginx[i]), regexp.MustCompile(nginx[i])},
		)
	}
	keyOf := func(rules []rule, path string) string {
		for _, r := range rules {
			if r.match.MatchString(path) {
				return r.rewrite.FindStringSubmatch(path)[1]
			}
		}
		return ""
	}
	for name, rules := range balancers {
		seen := map[string]string{}
		for _, original := range []string{
			"a.jpg", "2026/11/abc.jpg", "2026/11/abc.v2.jpg", "2026/11/abc", "~w7w", "orig/v.1/x.jpg",
		} {
			for _, signed := range []string{
				"/640x640-cover-q70/v.1/posts/" + original + ".webp",
				"/32x32-cover/live/posts/" + original + ".auto",
				"/440x/e.9f86d081/posts/" + original + ".jpg",
				"/100x-wm.logo/v.1.2/posts/" + original + ".png", "/info/v.1/posts/" + original + ".json",
				"/orig/v.1/posts/" + original, "/orig/s.~eHg/posts/" + original,
			} {
				key := keyOf(rules, "/i/"+signBytes(signed)+signed)
				if key != "posts/"+original {
					t.Errorf("%s: the key of %s is %q, want %q", name, signed, key, "posts/"+original)
				}
				if other, ok := seen[key]; ok && other != original {
					t.Errorf("%s: %q is the key of %s and of %s", name, key, original, other)
				}
				seen[key] = original
			}
		}
	}
}

// signBytes is a placeholder for a signature, which balancers ignore.
func signBytes(signed string) string { return "k1." + (strings.Repeat("A", 22) + signed)[:22] }

// With an unreadable list of takedowns, the tier could serve images that were taken down.
func TestTier_Takedown_DamagedListStopsStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const list = `{"at":"2026-11-28T10:00:00Z","source":"posts","name":"YQ=="}` + "\nnonsense\n{}\n"
	if err := os.WriteFile(filepath.Join(dir, "takedowns"), []byte(list), 0o640); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "imagetier"), "serve",
		"--keys", key, "--source", "posts=dir://"+t.TempDir(), "--cache-dir", dir,
		"--cache-memory-size", "64MiB", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0").
		CombinedOutput()
	if err == nil || ctx.Err() != nil || !strings.Contains(string(out), "takedowns:2") {
		t.Errorf("%v\n%s", err, out)
	}
}
