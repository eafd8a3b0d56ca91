package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
)

// settingsOf returns the variables that a program reads.
func settingsOf(t *testing.T, program, prefix string) (names []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, program), "config", "print", "--json", "--dev")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var printed struct{ Settings []struct{ Name string } }
	if err := json.Unmarshal(out, &printed); err != nil || len(printed.Settings) < 10 {
		t.Fatalf("%v, %s", err, out)
	}
	for _, s := range printed.Settings {
		name := prefix + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		names = append(names, name, name+"_FILE")
	}
	return names
}

// An unknown IMAGETIER_ variable keeps a program from starting.
func TestDeploy_KnownSettings(t *testing.T) {
	tier, gateway := settingsOf(t, "imagetier", "IMAGETIER_"), settingsOf(t, "imagetier-gateway", "IMAGETIER_GATEWAY_")
	var files []string
	for _, pattern := range []string{"systemd/*", "kubernetes/*", "compose.yaml"} {
		found, err := filepath.Glob("../../deploy/" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("nothing in %s (%v)", pattern, err)
		}
		files = append(files, found...)
	}
	variable := regexp.MustCompile(`\bIMAGETIER_[A-Z0-9_]+`)
	seen := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range variable.FindAllString(string(text), -1) {
			seen++
			known := tier
			if strings.HasPrefix(name, "IMAGETIER_GATEWAY_") {
				known = gateway
			}
			if !slices.Contains(known, name) {
				t.Errorf("%s sets %s, which there is none of", path, name)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d variables are set", seen)
	}
}

func TestDeploy_SystemdUnits(t *testing.T) {
	analyze := testutil.Command(t, "apt-get install systemd", "systemd-analyze")
	units, err := filepath.Glob("../../deploy/systemd/*.service")
	if err != nil || len(units) != 2 {
		t.Fatalf("%q, %v", units, err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// It looks for the programs, too: they are where this test has built them.
		here := filepath.Join(t.TempDir(), filepath.Base(unit))
		patched := strings.ReplaceAll(string(text), "/usr/local/bin/", bin+"/")
		if err := os.WriteFile(here, []byte(patched), 0o600); err != nil {
			t.Fatal(err)
		}
		// What it does not understand it says, and goes on.
		verify := exec.CommandContext(t.Context(), analyze, "verify", here)
		if out, err := verify.CombinedOutput(); err != nil ||
			strings.Contains(string(out), filepath.Base(unit)+":") {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
		security := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", here)
		if out, err := security.CombinedOutput(); err != nil {
			t.Errorf("%s is exposed by more than 2.0: %v\n%.500s", unit, err, out[max(0, len(out)-500):])
		}
	}
}
