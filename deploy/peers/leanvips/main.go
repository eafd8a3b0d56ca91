//go:build leanvips

// Command leanvips answers /WIDTHxHEIGHT/QUALITY/[crop/]NAME.jpg.FORMAT with a thumbnail of DIR/NAME.jpg
// that vips_thumbnail makes, and does nothing else: no cache, no limits, no sandbox. `make bench-fill`
// compares imagetier with it if imgproxy is not installed.
package main

/*
#cgo pkg-config: vips
#include <stdlib.h>
#include <vips/vips.h>

static int thumbnail(const char *file, int width, int height, int crop, int webp, int quality, void **out, size_t *n) {
	VipsImage *image;
	if (vips_thumbnail(file, &image, width, "height", height, "size", VIPS_SIZE_DOWN, "export-profile", "srgb",
			"crop", crop ? VIPS_INTERESTING_CENTRE : VIPS_INTERESTING_NONE, NULL))
		return -1;
	int failed = webp
		? vips_webpsave_buffer(image, out, n, "Q", quality, "strip", TRUE, NULL)
		: vips_jpegsave_buffer(image, out, n, "Q", quality, "strip", TRUE, "optimize_coding", TRUE, "interlace", TRUE, NULL);
	g_object_unref(image);
	return failed;
}
static int start(void) {
	if (vips_init("leanvips"))
		return -1;
	vips_concurrency_set(1);
	vips_cache_set_max(0);
	return 0;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unsafe"
)

func main() {
	if len(os.Args) != 3 || C.start() != 0 {
		fmt.Fprintln(os.Stderr, "usage: leanvips HOST:PORT DIR")
		os.Exit(1)
	}
	err := http.ListenAndServe(os.Args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := thumbnail(os.Args[2], r.URL.Path)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(b)
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// thumbnail makes the thumbnail of a URL path.
func thumbnail(dir, url string) ([]byte, error) {
	size, name := path.Split(url)
	var width, height, quality int
	crop := strings.HasSuffix(size, "/crop/")
	if _, err := fmt.Sscanf(size, "/%dx%d/%d/", &width, &height, &quality); err != nil {
		return nil, err
	}
	file := C.CString(filepath.Join(dir, strings.TrimSuffix(name, filepath.Ext(name))))
	defer C.free(unsafe.Pointer(file))
	var out unsafe.Pointer
	var n C.size_t
	if C.thumbnail(file, C.int(width), C.int(height), flag(crop), flag(filepath.Ext(name) == ".webp"),
		C.int(quality), &out, &n) != 0 {
		return nil, errors.New(C.GoString(C.vips_error_buffer()))
	}
	defer C.g_free(C.gpointer(out))
	return C.GoBytes(out, C.int(n)), nil
}

func flag(set bool) C.int {
	if set {
		return 1
	}
	return 0
}
