package config

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/internal/settings"
)

var errNoKeys = errors.New("no keys: give --keys k1=HEX (IMAGETIER_KEYS, or a file by --keys-file) with at least 64 hex digits, as `openssl rand -hex 32` prints them; or --dev to try things out without")

// check looks at what settings mean together. Values that could not be read are zero and
// have been reported.
func (c *Config) check(r *settings.Resolved, m Machine, serving bool) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
	case c.TLSKey == "":
		r.FaultOf("tls-cert", errors.New("needs --tls-key beside it"))
	case c.TLSCert == "":
		r.FaultOf("tls-key", errors.New("needs --tls-cert beside it"))
	default:
		if _, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey); err != nil {
			r.FaultOf("tls-cert", err)
		}
	}
	if r.Read("private-listen") && r.Read("listen") && settings.SameAddress(c.Listen, c.PrivateListen) {
		r.FaultOf("private-listen", fmt.Errorf("%s is the public listener's address too", c.PrivateListen))
	}
	c.checkWarming(r)
	c.readWatermarks(r)
	c.checkCDN(r)
	if !serving {
		return
	}
	if len(c.Keys) == 0 && !c.Dev && !r.Faulty("keys") {
		r.Fault("keys", settings.Place{}, errNoKeys)
	}
	if c.MemorySize > 0 && c.Workers > 0 {
		if limit, where := CgroupMemory(m.Root); limit > 0 {
			if err := c.fits(limit, where); err != nil {
				r.FaultOf("cache-memory-size", err)
			}
		}
	}
}
