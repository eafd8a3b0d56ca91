package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// stub is the origin of a replay. It serves every name with one of a few photos, always the same
// one for a name, after the latency of S3. Avatars are a small image.
type stub struct {
	photos  [][]byte
	avatar  []byte
	latency time.Duration
	gets    atomic.Int64
	server  *http.Server
	url     string // ends in "/"
}

// openStub listens at addr.
func openStub(addr string, photos [][]byte, avatar []byte, latency time.Duration) (*stub, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("the origin of the replay: %w", err)
	}
	s := &stub{photos: photos, avatar: avatar, latency: latency, url: "http://" + l.Addr().String() + "/"}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(l) }() // until close
	return s, nil
}

func (s *stub) close() { _ = s.server.Close() }

// ServeHTTP answers any name after the latency.
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.gets.Add(1)
	body := s.bodyOf(r.URL.Path)
	select {
	case <-time.After(s.latency):
	case <-r.Context().Done():
		return
	}
	h := fnv.New64a()
	h.Write([]byte(r.URL.Path))
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, h.Sum64()))
	w.Header().Set("Content-Type", "image/jpeg")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (s *stub) bodyOf(path string) []byte {
	if strings.Contains(path, "avatars/") {
		return s.avatar
	}
	h := fnv.New32a()
	h.Write([]byte(path))
	return s.photos[int(h.Sum32()%uint32(len(s.photos)))]
}

// readPhotos returns photos as phones upload them: the baseline JPEGs of at least 6 megapixels in
// the first of dirs that has any. If no directory has photos, it generates one of 12 megapixels: noise on a
// gradient.
func readPhotos(dirs ...string) (photos [][]byte, from string, err error) {
	for _, dir := range dirs {
		names, _ := filepath.Glob(filepath.Join(dir, "*.jpg")) // the pattern is valid
		for _, name := range names {
			body, err := os.ReadFile(name)
			if err != nil {
				return nil, "", err
			}
			if cfg, err := jpeg.DecodeConfig(bytes.NewReader(body)); err == nil && cfg.Width*cfg.Height >= 6_000_000 &&
				!progressive(body) {
				photos = append(photos, body)
			}
		}
		if len(photos) > 0 {
			return photos, fmt.Sprintf("%d photos of %s", len(photos), dir), nil
		}
	}
	made, err := madeUp(4032, 3024)
	return [][]byte{made}, "a photo made up", err
}

// progressive reports whether a JPEG is progressive (SOF2).
func progressive(body []byte) bool {
	for at := 2; at+4 <= len(body) && body[at] == 0xff; {
		switch body[at+1] {
		case 0xc2:
			return true
		case 0xc0, 0xc1, 0xda:
			return false
		}
		at += 2 + int(body[at+2])<<8 + int(body[at+3])
	}
	return false
}

// madeUp generates a JPEG that costs as much to decode as a photo.
func madeUp(width, height int) ([]byte, error) {
	random := rand.New(rand.NewPCG(5, 6))
	img := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for y := range height {
		for x := range width {
			img.Y[y*img.YStride+x] = uint8(40 + 150*x/width + random.IntN(24))
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(100+random.IntN(8)), uint8(120+random.IntN(8))
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}

// avatarOf makes an avatar as apps upload it, the centre of a photo at 640x640 pixels.
func avatarOf(photo []byte) ([]byte, error) {
	const side = 640
	img, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		return nil, err
	}
	size := img.Bounds().Size()
	step := min(size.X, size.Y) / side
	if step == 0 {
		return nil, errors.New("the photo is too small for an avatar")
	}
	small := image.NewRGBA(image.Rect(0, 0, side, side))
	for y := range side {
		for x := range side {
			small.Set(x, y, color.RGBAModel.Convert(img.At((size.X-side*step)/2+x*step, (size.Y-side*step)/2+y*step)))
		}
	}
	var b bytes.Buffer
	err = jpeg.Encode(&b, small, &jpeg.Options{Quality: 85})
	return b.Bytes(), err
}
