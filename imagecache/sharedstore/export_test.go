package sharedstore

// KeepLive makes a Tier also store live images, for the conformance suite.
func (c Config) KeepLive() Config {
	c.live = true
	return c
}

// KeyOf is the key of an object.
var KeyOf = keyOf
