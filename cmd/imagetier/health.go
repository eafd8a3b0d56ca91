package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// healthCmd asks the private listener.
type healthCmd struct {
	Ready   bool          `help:"Ask whether requests should come here (/readyz), not only whether the process lives (/healthz)."`
	Timeout time.Duration `default:"2s" placeholder:"TIME" help:"How long to wait for the answer (${default})."`
	JSON    bool          `name:"json" help:"Print an object."`

	settingsOf
}

// Help teaches by example.
func (healthCmd) Help() string {
	return `Asks the private listener of the tier that runs with the same settings. Exits with 0 if it is well, 1 if it is not or does not answer, 2 if the settings are wrong.

    HEALTHCHECK CMD ["imagetier", "health"]
    imagetier health --ready --private-listen 127.0.0.1:9081`
}

// health is what health prints with --json.
type health struct {
	URL    string `json:"url"`
	Well   bool   `json:"well"`
	Status int    `json:"status,omitempty"` // none: there was no answer
	Detail string `json:"detail"`
}

// Run asks.
func (c *healthCmd) Run(ctx context.Context, p *program) error {
	cfg, _, err := c.load(p)
	if err != nil {
		return err
	}
	said := health{URL: privateURL(cfg.PrivateListen) + "/healthz"}
	if c.Ready {
		said.URL = privateURL(cfg.PrivateListen) + "/readyz"
	}
	status, body, err := ask(ctx, said.URL, c.Timeout)
	said.Status, said.Well, said.Detail = status, status == http.StatusOK, oneLine(body)
	if err != nil {
		said.Detail = err.Error()
	}
	if c.JSON {
		err = json.NewEncoder(p.stdout).Encode(said)
	} else if said.Well {
		_, err = fmt.Fprintln(p.stdout, "ok")
	} else {
		_, err = fmt.Fprintf(p.stderr, "imagetier: %s is not well: %s\n", said.URL, statusDetail(said))
	}
	if err == nil && !said.Well {
		return exit(exitFailed)
	}
	return err
}

func statusDetail(h health) string {
	if h.Status == 0 {
		return h.Detail
	}
	return fmt.Sprintf("%d %s", h.Status, h.Detail)
}
