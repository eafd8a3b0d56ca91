package imagelink

import (
	"math"
	"strconv"
	"strings"
)

// since is from which version on something decodes a format; zero is never.
type since struct{ webp, avif version }

// version compares as a number: 16.4 is 16*1000+4.
type version int

func (s since) format(v version) Format {
	switch {
	case s.avif > 0 && v >= s.avif:
		return AVIF
	case s.webp > 0 && v >= s.webp:
		return WebP
	}
	return JPEG
}

// What decodes what. Apple's formats are those of ImageIO, which UIImage, SDWebImage,
// Kingfisher, Nuke and WebKit on iOS all decode with.
var (
	// iOS, iPadOS and tvOS share their numbers: WebP since 14 (WWDC 2020, release notes of
	// Safari 14), AVIF since 16 (release notes of Safari 16).
	iOS = since{webp: 14_000, avif: 16_000}
	// macOS: WebP since 11, AVIF since 13: the releases of the same years.
	macOS = since{webp: 11_000, avif: 13_000}
	// watchOS counted seven less than iOS until both became 26.
	watchOS = since{webp: 7_000, avif: 9_000}
	// Darwin is the kernel of all of them, one number a year: 20 is iOS 14 and macOS 11, 22
	// is iOS 16 and macOS 13 (XNU's release numbers; CFNetwork's User-Agent shows them).
	darwin = since{webp: 20_000, avif: 22_000}
	// Safari on a Mac: its User-Agent says 10.15.7 whatever the Mac has, and 14 and 15 decode
	// WebP on macOS 11 only, so 16 (which needs 11); AVIF everywhere since 16.4.
	macSafari = since{webp: 16_000, avif: 16_004}
	// Chromium decodes all of WebP since 32 and AVIF since 85, Edge AVIF since 121;
	// Firefox WebP since 65 and AVIF since 93.
	chromium = since{webp: 32_000, avif: 85_000}
	edge     = since{webp: 32_000, avif: 121_000}
	firefox  = since{webp: 65_000, avif: 93_000}
	// Android decodes all of WebP since 4.3 and AVIF since 12: the platform's decoder, which
	// Glide and Coil use.
	android = since{webp: 4_003, avif: 12_000}
)

// ClientOfUserAgent returns the class that a User-Agent tells. It knows what image loaders
// and HTTP clients of apps send (SDWebImage and all that count as it does: AFNetworking,
// Alamofire; CFNetwork, which is Kingfisher's, Nuke's and Apollo's; OkHttp, Coil, Glide,
// Dalvik) and browsers. Who is unknown gets JPEG at @2x.
//
// Where the scale is not told it is that of most: 3 of phones, 2 of all others.
func ClientOfUserAgent(ua string) Client {
	c := Client{Format: JPEG, Scale: 2}
	switch {
	case has(ua, "iPhone"), has(ua, "iPod"):
		c.Scale = 3
		c.Format = appleFormat(ua)
	case has(ua, "iPad"), has(ua, "Apple TV"), has(ua, "Apple Watch"), has(ua, "Apple Vision"), has(ua, "visionOS"), has(ua, "tvOS"), has(ua, "watchOS"):
		c.Format = appleFormat(ua)
	case has(ua, "Android"), has(ua, "okhttp/"), has(ua, "Dalvik/"), has(ua, "Coil/"), has(ua, "Glide"), has(ua, "ktor"):
		c.Scale = 3
		c.Format = androidFormat(ua)
	case has(ua, "Mozilla/"):
		c.Format = browserFormat(ua)
	case has(ua, "iOS "), has(ua, "Darwin/"):
		c.Scale = 3
		c.Format = appleFormat(ua)
	case has(ua, "macOS "), has(ua, "Mac OS X"):
		c.Format = appleFormat(ua)
	}
	if _, told, ok := strings.Cut(ua, "Scale/"); ok {
		if scale, err := strconv.ParseFloat(number(told), 64); err == nil && scale >= 0.5 {
			c.Scale = int(min(math.Round(scale), maxScale))
		}
	}
	return c
}

func has(ua, word string) bool { return strings.Contains(ua, word) }

// appleFormat looks for the system's version where the apps' clients and WebKit say it.
func appleFormat(ua string) Format {
	for _, system := range [...]struct {
		before string
		since
	}{
		{"iPhone OS ", iOS}, {"CPU OS ", iOS}, {"iPadOS ", iOS}, {"tvOS ", iOS}, {"watchOS ", watchOS}, {"iOS ", iOS},
		{"Darwin/", darwin}, {"macOS ", macOS}, {"Mac OS X Version ", macOS},
	} {
		if v, ok := versionAfter(ua, system.before); ok {
			return system.format(v)
		}
	}
	if has(ua, "visionOS ") {
		return AVIF // it began as a system of iOS 17's year
	}
	return JPEG
}

func androidFormat(ua string) Format {
	if v, ok := versionAfter(ua, "Chrome/"); ok {
		return chromium.format(v) // a browser's Android is always 10
	}
	if v, ok := versionAfter(ua, "Firefox/"); ok {
		return firefox.format(v)
	}
	if v, ok := versionAfter(ua, "Android "); ok {
		return android.format(v)
	}
	return WebP // OkHttp and the loaders on it: nothing that they run on is older
}

func browserFormat(ua string) Format {
	for _, browser := range [...]struct {
		before string
		since
	}{{"Firefox/", firefox}, {"Edg/", edge}, {"Chrome/", chromium}} {
		if v, ok := versionAfter(ua, browser.before); ok {
			return browser.format(v)
		}
	}
	if v, ok := versionAfter(ua, "Version/"); ok && has(ua, "Macintosh") && has(ua, "Safari/") {
		return macSafari.format(v)
	}
	return JPEG
}

// versionAfter reads the version that stands behind before: 17.4.1, 17_4, 120.
func versionAfter(ua, before string) (version, bool) {
	_, rest, ok := strings.Cut(ua, before)
	if !ok {
		return 0, false
	}
	major, rest := leadingInt(rest)
	if major < 0 {
		return 0, false
	}
	minor := 0
	if rest != "" && (rest[0] == '.' || rest[0] == '_') {
		minor, _ = leadingInt(rest[1:])
	}
	return version(major*1000 + min(max(minor, 0), 999)), true
}

// leadingInt reads the digits that s begins with, at most 6; -1 if there are none.
func leadingInt(s string) (n int, rest string) {
	n = -1
	i := 0
	for ; i < len(s) && i < 6 && '0' <= s[i] && s[i] <= '9'; i++ {
		n = max(n, 0)*10 + int(s[i]-'0')
	}
	return n, s[i:]
}

// number returns the digits and dots that s begins with.
func number(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789."))]
}
