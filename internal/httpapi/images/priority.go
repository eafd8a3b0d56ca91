package images

import "strings"

// leastUrgent reports whether the header Priority (RFC 9218, 4.1) asks for the least urgency,
// u=7. Warming through a balancer sends it: such a request has resize.PriorityWarm. Of several
// values the last counts (RFC 8941, 3.2); values that do not parse are ignored.
func leastUrgent(lines []string) bool {
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
