package imagelink_test

import (
	"net/http"
	"testing"

	"github.com/novasocial/imagetier/gateway/imagelink"
)

// SDWebImage sends @1x, @2x or @3x; WebP from iOS 14, AVIF from 16.
func TestClientOfUserAgent(t *testing.T) {
	for _, c := range []struct{ ua, want string }{
		{"App/1.0 (iPhone; iOS 17.4; Scale/3.00)", "avif@3x"},
		{"App/1.0 (iPhone; iOS 16.0; Scale/2.00)", "avif@2x"},
		{"App/1.0 (iPhone; iOS 15.8.2; Scale/3.00)", "webp@3x"},
		{"App/1.0 (iPhone; iOS 14.0; Scale/2.00)", "webp@2x"},
		{"App/1.0 (iPhone; iOS 13.7; Scale/3.00)", "jpg@3x"},
		{"App/1.0 (iPad; iOS 17.4; Scale/2.00)", "avif@2x"},
		{"App/1.0 (iPad; iOS 9.3; Scale/1.00)", "jpg@1x"},
		{"App/1.0 (iPhone; iOS 26.1; Scale/3.00)", "avif@3x"},
		{"App/1.0 (iPhone; iOS 17.4)", "avif@3x"},
		{"App/1.0 (Apple TV; tvOS 15.1; Scale/1.00)", "webp@1x"},
		{"App/1.0 (Apple Watch; watchOS 8.1; Scale/2.00)", "webp@2x"},
		{"App/1.0 (Apple Watch; watchOS 6.2; Scale/2.00)", "jpg@2x"},
		{"App/1.0 (Mac OS X Version 14.4.1 (Build 23E224))", "avif@2x"},
		{"App/1.0 (Mac OS X Version 10.15.7 (Build 19H2))", "jpg@2x"},
		{"App/1.0 (visionOS 1.0; Scale/2.00)", "avif@2x"},
		{"App/1 CFNetwork/1494.0.7 Darwin/23.4.0", "avif@3x"},
		{"App/42 CFNetwork/1335.0.3 Darwin/21.6.0", "webp@3x"},
		{"App/42 CFNetwork/1220.1 Darwin/20.3.0", "webp@3x"},
		{"App/42 CFNetwork/1128.0.1 Darwin/19.6.0", "jpg@3x"},
		{"App/1.0 (com.app; build:1; iOS 15.4.0) Alamofire/5.9.0", "webp@3x"},
		{"App/1.0 (com.app; build:1; macOS 12.4.0) Alamofire/5.9.0", "webp@2x"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1", "avif@3x"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 13_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.2 Mobile/15E148 Safari/604.1", "jpg@3x"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 15_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/120.0 Mobile/15E148 Safari/604.1", "webp@3x"},
		{"Mozilla/5.0 (iPad; CPU OS 14_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
			"webp@2x"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15", "avif@2x"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.3 Safari/605.1.15", "webp@2x"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.6 Safari/605.1.15", "jpg@2x"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", "avif@2x"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/84.0.0.0 Safari/537.36", "webp@2x"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0", "webp@2x"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36", "avif@3x"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "avif@2x"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:78.0) Gecko/20100101 Firefox/78.0", "webp@2x"},
		{"Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2)", "jpg@2x"},
		// WebKitGTK, whose formats are the distribution's
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Safari/605.1.15",
			"jpg@2x"},
		{"okhttp/4.12.0", "webp@3x"},
		{"Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UD1A)", "avif@3x"},
		{"Dalvik/2.1.0 (Linux; U; Android 11; Pixel 3)", "webp@3x"},
		{"curl/8.5.0", "jpg@2x"},
		{"", "jpg@2x"},
		{"App/1.0 (iPhone; iOS ; Scale/)", "jpg@3x"},
		{"App/1.0 (iPhone; iOS 99999999999999999999; Scale/1e999)", "avif@1x"},
		{"App/1.0 (iPhone; iOS 17; Scale/99)", "avif@3x"},
	} {
		if got := imagelink.ClientOfUserAgent(c.ua); got.String() != c.want {
			t.Errorf("%s is %s, not %s", c.ua, got, c.want)
		}
	}
}

func TestClientOf_HeaderOverridesUserAgent(t *testing.T) {
	for header, want := range map[string]string{
		"webp@3x": "webp@3x", "jpg@1x": "jpg@1x", "avif": "avif@2x",
		"@3x": "webp@3x", "": "webp@2x", "@9x": "webp@3x", " jpg ": "jpg@2x",
		"heic": "webp@2x", "webp@": "webp@2x", "webp@0x": "webp@2x",
		"@x": "webp@2x", "webp@3": "webp@2x", "@": "webp@2x",
	} {
		h := http.Header{}
		h.Set("User-Agent", "App/1.0 (iPhone; iOS 15.0; Scale/2.00)")
		h.Set("X-Image-Client", header)
		if got := imagelink.ClientOf(h); got.String() != want || got.Scale > 3 {
			t.Errorf("%q is %s, not %s", header, got, want)
		}
	}
}

func FuzzClientOf_AnyUserAgent_RoundTrips(f *testing.F) {
	f.Add("App/1.0 (iPhone; iOS 17.4; Scale/3.00)", "webp@3x")
	f.Add("Mozilla/5.0 (Linux; Android 10; K) Chrome/", "@@")
	f.Fuzz(func(t *testing.T, ua, header string) {
		c := imagelink.ClientOf(http.Header{"User-Agent": {ua}, "X-Image-Client": {header}})
		again, err := imagelink.ParseClient(c.String(), imagelink.Client{})
		if err != nil || again != c || c.Scale < 1 || c.Scale > 3 {
			t.Errorf("%q, %q: %s reads back as %s, %v", ua, header, c, again, err)
		}
	})
}
