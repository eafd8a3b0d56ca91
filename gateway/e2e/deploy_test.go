package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

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
				t.Errorf("%s sets %s, which is not a setting", path, name)
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
		// The scripts also look for the programs, which this test has built.
		here := filepath.Join(t.TempDir(), filepath.Base(unit))
		patched := strings.ReplaceAll(string(text), "/usr/local/bin/", bin+"/")
		if err := os.WriteFile(here, []byte(patched), 0o600); err != nil {
			t.Fatal(err)
		}
		// Unknown events are reported and skipped.
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

// pod is the part of the manifests about a pod.
type pod struct {
	SecurityContext struct {
		RunAsNonRoot   bool           `yaml:"runAsNonRoot"`
		RunAsUser      int            `yaml:"runAsUser"`
		FSGroup        int            `yaml:"fsGroup"`
		SeccompProfile map[string]any `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []struct {
		Env             []struct{ Name, Value string }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		Resources struct{ Requests, Limits map[string]string }
	}
}

func TestDeploy_Pods(t *testing.T) {
	for _, file := range []string{"fleet", "gateway"} {
		text, err := os.ReadFile("../../deploy/kubernetes/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`nats://[^:@/]+:4222`).Match(text) {
			t.Errorf("%s: NATS without user and password", file)
		}
		pods := 0
		for doc := yaml.NewDecoder(bytes.NewReader(text)); ; {
			var manifest struct {
				Spec struct {
					Template             struct{ Spec pod }
					VolumeClaimTemplates []any `yaml:"volumeClaimTemplates"`
				}
			}
			if err := doc.Decode(&manifest); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			p := manifest.Spec.Template.Spec
			if len(p.Containers) == 0 {
				continue
			}
			pods++
			if of := p.SecurityContext; !of.RunAsNonRoot || of.RunAsUser != 10001 ||
				of.SeccompProfile["type"] != "RuntimeDefault" ||
				len(manifest.Spec.VolumeClaimTemplates) > 0 && of.FSGroup != 10001 {
				t.Errorf("%s: the pod may do too much, or cannot write its volume: %+v", file, of)
			}
			for _, c := range p.Containers {
				of := c.SecurityContext
				if of.AllowPrivilegeEscalation == nil || *of.AllowPrivilegeEscalation || !of.ReadOnlyRootFilesystem ||
					!slices.Equal(of.Capabilities.Drop, []string{"ALL"}) {
					t.Errorf("%s: the container may do too much: %+v", file, of)
				}
				r := c.Resources
				if r.Requests["cpu"] == "" || r.Requests["memory"] == "" || r.Limits["memory"] == "" {
					t.Errorf("%s: resources %+v", file, c.Resources)
				}
			}
		}
		if pods != 1 {
			t.Errorf("%s: %d pods", file, pods)
		}
	}
	docker, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^USER 10001$`).Match(docker) {
		t.Error("Dockerfile: runAsNonRoot needs USER by number")
	}
}

// Without an issuer and an audience, the feed would accept tokens for other services.
func TestDeploy_JWT(t *testing.T) {
	for _, file := range []string{
		"deploy/kubernetes/gateway.yaml", "deploy/compose.yaml", "docs/gateway/README.md",
		"gateway/cmd/imagetier-gateway/serve.go",
	} {
		text, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		low := strings.ReplaceAll(strings.ToLower(string(text)), "_", "-")
		if !strings.Contains(low, "jwks") || !strings.Contains(low, "jwt-issuer") ||
			!strings.Contains(low, "jwt-audience") {
			t.Errorf("%s: an example without --jwt-issuer and --jwt-audience", file)
		}
	}
}
