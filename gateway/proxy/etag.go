package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A rewritten response differs from the service's, for each class of clients, each configuration, and
// whether the aliases of a persisted query are known. So it has an ETag of its own, the service's followed by
//
//	~it, the strength of the service's tag (s or w), the class, the salt
//
// It is weak, because the same response may be compressed differently the next time. The tag that a
// client sends back is turned into the service's own for the conditional request.

const (
	tagMark   = "~it"
	tagSuffix = len(tagMark) + 1 + 1 + 8
)

func (p *Proxy) suffix(strength byte, x *exchange) string {
	class := byte('0') + byte(x.client.Format)*3 + byte(x.client.Scale)
	salt := p.currentSalt()
	if x.query.aliases != "" {
		salt = hashSalt(salt + " " + x.query.aliases)
	}
	return tagMark + string([]byte{strength, class}) + salt
}

// tagsFor is how long a 304 may keep URLs with the entity tag of an original: as long as a [tier.Client] does by
// default.
const tagsFor = 30 * time.Second

// currentSalt is the salt of URLs that are minted now: it changes with their expiry, so that no 304
// keeps URLs whose remaining validity is less than the lifetime, and if they have entity tags of originals, every
// tagsFor.
func (p *Proxy) currentSalt() string {
	salt := *p.salt.Load()
	if p.cfg.Linker.AsksTags() {
		salt = hashSalt(fmt.Sprint(salt, time.Now().Truncate(tagsFor).Unix()))
	}
	if expires := p.cfg.Linker.Expires(); !expires.IsZero() {
		return hashSalt(fmt.Sprint(salt, expires.Unix()))
	}
	return salt
}

// derivedTag returns the ETag of the rewritten response for the service's tag; "" if that is not an
// entity tag.
func (p *Proxy) derivedTag(tag string, x *exchange) string {
	strength := byte('s')
	opaque, weak := strings.CutPrefix(tag, "W/")
	if weak {
		strength = 'w'
	}
	if len(opaque) < 2 || opaque[0] != '"' || strings.IndexByte(opaque[1:], '"') != len(opaque)-2 {
		return ""
	}
	return "W/" + opaque[:len(opaque)-1] + p.suffix(strength, x) + `"`
}

// originalTag is the inverse of derivedTag. derived is false if derivedTag did not make tag, and ok is
// false if it did, but for another class or configuration.
func (p *Proxy) originalTag(tag string, x *exchange) (original string, derived, ok bool) {
	opaque := strings.TrimPrefix(tag, "W/")
	at := len(opaque) - 1 - tagSuffix
	if at < 1 || opaque[0] != '"' || opaque[at:at+len(tagMark)] != tagMark {
		return tag, false, true
	}
	strength := opaque[at+len(tagMark)]
	if strength != 's' && strength != 'w' {
		return tag, false, true
	}
	if opaque[at:len(opaque)-1] != p.suffix(strength, x) {
		return "", true, false
	}
	original = opaque[:at] + `"`
	if strength == 'w' {
		original = "W/" + original
	}
	return original, true, true
}

// originalTags replaces the client's tags in the conditions of a request by the service's own, and
// returns a map from the service's tags to the client's. It leaves out a derived tag of another
// class or configuration: the client's copy is out of date in any case. Other tags are kept: they
// belong to responses that were passed on unchanged.
func (p *Proxy) originalTags(h http.Header, x *exchange) map[string]string {
	var called map[string]string
	for _, name := range []string{"If-None-Match", "If-Match"} {
		lines := h[name]
		if len(lines) == 0 {
			continue
		}
		var kept []string
		for _, tag := range splitList(strings.Join(lines, ",")) {
			original, derived, ok := p.originalTag(tag, x)
			if !ok {
				if name == "If-None-Match" {
					continue
				}
				original = tag // not a tag of the service, so the condition fails
			}
			if derived && ok {
				if called == nil {
					called = map[string]string{}
				}
				called[strings.TrimPrefix(original, "W/")] = tag
			}
			kept = append(kept, original)
		}
		if h.Del(name); len(kept) > 0 {
			h.Set(name, strings.Join(kept, ", "))
		}
	}
	return called
}

// splitList splits a list of entity tags or directives, which may have commas between quotes.
func splitList(list string) (items []string) {
	quoted, from := false, 0
	add := func(to int) {
		if item := strings.Trim(list[from:to], " \t"); item != "" {
			items = append(items, item)
		}
		from = to + 1
	}
	for i := range len(list) {
		switch {
		case list[i] == '"':
			quoted = !quoted
		case list[i] == ',' && !quoted:
			add(i)
		}
	}
	add(len(list))
	return items
}
