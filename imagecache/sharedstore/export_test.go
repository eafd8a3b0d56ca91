package sharedstore

// KeepLive has what is live kept too, for the script of all tiers.
func (c Config) KeepLive() Config {
	c.live = true
	return c
}

// KeyOf is the key of an object.
var KeyOf = keyOf
