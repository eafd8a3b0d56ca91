package images

import (
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// priorityOf reads the header Priority (RFC 9218, 4.1). Warming through a balancer sends the least
// urgency, u=7, which is resize.PriorityWarm, and for what a page shows "u=7, page", which is
// resize.PriorityPage. Everything else is live. Of several values the last counts (RFC 8941, 3.2);
// values that do not parse are ignored.
func priorityOf(lines []string) resize.Priority {
	if len(lines) == 0 {
		return resize.PriorityLive
	}
	least, page := false, false
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			member, _, _ = strings.Cut(member, ";") // parameters
			member = strings.Trim(member, " \t")
			if value, ok := strings.CutPrefix(member, "u="); ok {
				least = value == "7"
			}
			page = page || member == "page"
		}
	}
	switch {
	case !least:
		return resize.PriorityLive
	case page:
		return resize.PriorityPage
	}
	return resize.PriorityWarm
}
