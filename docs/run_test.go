package docs

import (
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/testutil"
)

// make run and make run-gateway name a port that is in use, and the variable that changes it.
func TestRun_NamesPortInUse(t *testing.T) {
	testutil.Command(t, "install bash", "bash")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for script, variable := range map[string]string{"run": "PORT", "run-gateway": "TIER_PORT"} {
		cmd := exec.CommandContext(t.Context(), "bash", "deploy/"+script)
		cmd.Dir = root
		cmd.Env = append(cmd.Environ(), variable+"="+port, "GATEWAY_PORT=1", "XDG_CACHE_HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "port "+port) || !strings.Contains(string(out), variable+"=") {
			t.Errorf("%s: %v %s", script, err, out)
		}
	}
}

// Blocks of Python and JavaScript run in docs/signing, and set the variable path to the path of the
// URL.
func TestPages_Scripts(t *testing.T) {
	const key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	keys, err := imageurl.ParseKeys("k1=" + key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := imageurl.NewSigner(keys...)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.SignImage("photos", "2026/11/abc.jpg", "v.1", "640x640-cover.webp")
	if err != nil {
		t.Fatal(err)
	}
	for language, run := range map[string]struct {
		program  []string
		print    string
		required bool // in CI
	}{
		"python": {[]string{"python3", "-c"}, "\nprint(path)", true},
		"js":     {[]string{"node", "--input-type=module", "-e"}, "\nconsole.log(path)", false},
	} {
		block := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$")
		count := 0
		for _, p := range files(t) {
			for _, m := range block.FindAllStringSubmatch(p.text, -1) {
				count++
				if run.required {
					testutil.Command(t, "install "+run.program[0], run.program[0])
				} else if _, err := exec.LookPath(run.program[0]); err != nil {
					t.Logf("%s is not installed", run.program[0])
					continue
				}
				args := append(slices.Clone(run.program[1:]), m[1]+run.print)
				cmd := exec.CommandContext(t.Context(), run.program[0], args...)
				cmd.Dir = "signing"
				cmd.Env = append(cmd.Environ(), "KEY="+key, "PYTHONDONTWRITEBYTECODE=1")
				if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != signed {
					t.Errorf("%s: %v\n%s\nprints %s, want %s", p.path, err, m[1], out, signed)
				}
			}
		}
		if count == 0 {
			t.Errorf("no code block in %s", language)
		}
	}
}
