package imageurl

import "strings"

// PathOf returns the path of a URL, or of a path, without scheme, host, query and fragment.
// It is not decoded.
func PathOf(url string) string {
	url, _, _ = strings.Cut(strings.TrimSpace(url), "#")
	url, _, _ = strings.Cut(url, "?")
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || strings.Contains(scheme, "/") {
		return url
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		return "/"
	}
	return rest[slash:]
}
