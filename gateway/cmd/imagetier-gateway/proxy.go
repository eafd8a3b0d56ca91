package main

import (
	"context"
	"errors"
)

// proxyCmd stands before a service.
type proxyCmd struct{ settingsOf }

// Run serves.
func (c *proxyCmd) Run(_ context.Context, p *program) error {
	if _, _, err := c.load(p); err != nil {
		return err
	}
	return errors.New("proxy is not in this version")
}
