package edge

import (
	"strings"
)

// background reports whether a request says that it is of the least urgency there is: u=7 in
// the header Priority (RFC 9218, 4.1), which is what warming through a balancer says.
// Such a request waits behind all others, and is the first to be refused. Of several values
// the last counts (RFC 8941, 3.2); what cannot be read says nothing.
func background(lines []string) bool {
	if len(lines) == 0 {
		return false
	}
	least := false
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member, _, _ = strings.Cut(member, ";") // parameters
			if value, ok := strings.CutPrefix(strings.Trim(member, " \t"), "u="); ok {
				least = value == "7"
			}
		}
	}
	return least
}
