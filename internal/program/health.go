package program

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/novasocial/imagetier/internal/adminclient"
)

// privateListen is the setting that health asks.
const privateListen = "private-listen"

// healthCmd asks the private listener of a running program.
type healthCmd struct {
	Ready   bool          `help:"Check readiness (/readyz) rather than health (/healthz). It fails while the program drains."`
	Timeout time.Duration `default:"2s" placeholder:"TIME" help:"How long to wait for the answer (default: ${default})."`
	JSON    bool          `name:"json" help:"Print JSON."`

	Settings
	program Program
}

// Help implements kong.HelpProvider.
func (c healthCmd) Help() string {
	return fmt.Sprintf("Asks the private listener of the program that runs with the same settings. "+
		"Exits with 0 if it is healthy, 1 if it is not or does not answer, 2 if the settings are wrong.\n\n"+
		"    HEALTHCHECK CMD [\"%[1]s\", \"health\"]\n"+
		"    %[1]s health --ready --private-listen 127.0.0.1:9081", c.program.Name)
}

// healthResult is what health prints with --json.
type healthResult struct {
	URL    string `json:"url"`
	Well   bool   `json:"well"`
	Status int    `json:"status,omitempty"` // 0 without an answer
	Detail string `json:"detail"`
}

// Run asks.
func (c *healthCmd) Run(ctx context.Context, proc *Process) error {
	resolved := c.program.Schema.Resolve(c.Input(proc))
	if err := resolved.Err(); err != nil {
		return err
	}
	path := "/healthz"
	if c.Ready {
		path = "/readyz"
	}
	client := adminclient.Client{Listen: resolved.Text(privateListen), Timeout: c.Timeout}
	result := healthResult{URL: client.URL(path)}
	status, body, err := client.Get(ctx, path)
	result.Status, result.Well, result.Detail = status, status == http.StatusOK, adminclient.OneLine(body)
	if err != nil {
		result.Detail = err.Error()
	}
	switch {
	case c.JSON:
		err = json.NewEncoder(proc.Stdout).Encode(result)
	case result.Well:
		_, err = fmt.Fprintln(proc.Stdout, "ok")
	case status == 0:
		_, err = fmt.Fprintf(proc.Stderr, "%s: %s does not answer: %s\n", proc.name, result.URL, result.Detail)
	default:
		_, err = fmt.Fprintf(proc.Stderr, "%s: %s answers %d: %s\n", proc.name, result.URL, status, result.Detail)
	}
	if err == nil && !result.Well {
		return Failed
	}
	return err
}
