package docs

import (
	"net"
	"os/exec"
	"strings"
	"testing"

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
