package imagelink

import (
	"math"
	"strconv"
	"strings"
)

// since has the first versions that decode a format; zero means never.
type since struct{ webp, avif version }

// version is major*1000+minor: 16.4 is 16004.
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

// Decoders by version. Apple's formats are those of ImageIO, which UIImage, SDWebImage, Kingfisher,
// Nuke and WebKit on iOS all use.
var (
	// iOS, iPadOS and tvOS share version numbers: WebP since 14 (WWDC 2020, release notes of
	// Safari 14), AVIF since 16 (release notes of Safari 16).
	iOS = since{webp: 14_000, avif: 16_000}
	// macOS: WebP since 11, AVIF since 13: the releases of the same years.
	macOS = since{webp: 11_000, avif: 13_000}
	// watchOS counted seven less than iOS until both became 26.
	watchOS = since{webp: 7_000, avif: 9_000}
	// Darwin is the kernel of all of them, one number a year: 20 is iOS 14 and macOS 11, 22
	// is iOS 16 and macOS 13 (XNU's release numbers; CFNetwork's User-Agent shows them).
	darwin = since{webp: 20_000, avif: 22_000}
	// Safari on macOS always sends system version 10.15.7. 14 and 15 decode WebP only on macOS 11,
	// so 16, which requires macOS 11, is the first safe one; AVIF since 16.4.
	macSafari = since{webp: 16_000, avif: 16_004}
	// Chromium decodes all of WebP since 32 and AVIF since 85, Edge AVIF since 121;
	// Firefox WebP since 65 and AVIF since 93.
	chromium = since{webp: 32_000, avif: 85_000}
	edge     = since{webp: 32_000, avif: 121_000}
	firefox  = since{webp: 65_000, avif: 93_000}
	// Android decodes all of WebP since 4.3 and AVIF since 12, with the platform's decoder, which
	// Glide and Coil use.
	android = since{webp: 4_003, avif: 12_000}
)

// ClientOfUserAgent returns the class of a User-Agent. It knows browsers and the image loaders and
// HTTP clients of apps: SDWebImage, AFNetworking and Alamofire; CFNetwork, used by Kingfisher, Nuke
// and Apollo; OkHttp, Coil, Glide and Dalvik. Unknown clients get JPEG at @2x.
//
// Without a scale in the User-Agent, phones get 3 and all others 2.
func ClientOfUserAgent(ua string) Client {
	c := Client{Format: JPEG, Scale: 2}
	switch {
	case has(ua, "iPhone"), has(ua, "iPod"):
		c.Scale = 3
		c.Format = appleFormat(ua)
	case has(ua, "iPad"),
		has(ua, "Apple TV"),
		has(ua, "Apple Watch"),
		has(ua, "Apple Vision"),
		has(ua, "visionOS"),
		has(ua, "tvOS"),
		has(ua, "watchOS"):
		c.Format = appleFormat(ua)
	case has(ua, "Android"),
		has(ua, "okhttp/"),
		has(ua, "Dalvik/"),
		has(ua, "Coil/"),
		has(ua, "Glide"),
		has(ua, "ktor"):
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
	if _, scaleText, ok := strings.Cut(ua, "Scale/"); ok {
		if scale, err := strconv.ParseFloat(number(scaleText), 64); err == nil && scale >= 0.5 {
			c.Scale = int(min(math.Round(scale), maxScale))
		}
	}
	return c
}

func has(ua, text string) bool { return strings.Contains(ua, text) }

// appleFormat returns the format for the system version in the User-Agent of an app or WebKit.
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
		return AVIF // the first visionOS is as new as iOS 17
	}
	return JPEG
}

func androidFormat(ua string) Format {
	if v, ok := versionAfter(ua, "Chrome/"); ok {
		return chromium.format(v) // browsers always claim Android 10
	}
	if v, ok := versionAfter(ua, "Firefox/"); ok {
		return firefox.format(v)
	}
	if v, ok := versionAfter(ua, "Android "); ok {
		return android.format(v)
	}
	return WebP // every Android that OkHttp and its loaders support decodes it
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

// versionAfter parses the version after a text: 17.4.1, 17_4, 120.
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

// leadingInt parses the leading digits of s, at most 6; -1 if s does not begin with a digit.
func leadingInt(s string) (n int, rest string) {
	n = -1
	i := 0
	for ; i < len(s) && i < 6 && '0' <= s[i] && s[i] <= '9'; i++ {
		n = max(n, 0)*10 + int(s[i]-'0')
	}
	return n, s[i:]
}

// number returns the leading digits and dots of s.
func number(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789."))]
}
