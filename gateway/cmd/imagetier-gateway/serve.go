package main

import (
	"context"
	"errors"
)

// serveCmd is the GraphQL service of a feed.
type serveCmd struct{ settingsOf }

// Run serves.
func (c *serveCmd) Run(_ context.Context, p *program) error {
	if _, _, err := c.load(p); err != nil {
		return err
	}
	return errors.New("serve is not in this version")
}
