package imagecache_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

func pinnedRecord() (imagecache.Key, imagecache.Image) {
	key := imagecache.NewKey("/640x640-cover/v.1/posts/2026/11/cat.jpg.webp",
		imagecache.Original{Source: "posts", Name: "2026/11/cat.jpg"})
	return key, imagecache.Image{
		Body:         []byte("RIFF....WEBPVP8 "),
		ContentType:  "image/webp",
		ETag:         `"9f86d081884c7d659a2feaa0c55ad015"`,
		LastModified: time.Unix(1795500000, 0).UTC(),
	}
}

func liveRecord() (imagecache.Key, imagecache.Image) {
	_, img := pinnedRecord()
	generated := time.UnixMilli(1795500000123).UTC()
	img.Origin = imagecache.Validator{ETag: `W/"é"`, LastModified: time.Unix(1795000000, 0).UTC()}
	img.Fresh = imagecache.Freshness{
		Generated: generated, Date: time.Unix(1795500000, 0).UTC(), Until: generated.Add(time.Hour + time.Millisecond),
		StaleWhileRevalidate: 90 * time.Second, StaleIfError: time.Hour,
		MustRevalidate: true, NoStore: true,
	}
	// The name is stored encoded, so the path does not contain it literally.
	return imagecache.NewKey("/64x/live/posts/~w6k.webp", imagecache.Original{Source: "posts", Name: "é"}), img
}

func TestParseRecord_ReadsWhatAppendRecordWrote(t *testing.T) {
	pinned, pinnedImage := pinnedRecord()
	live, liveImage := liveRecord()
	for _, test := range []struct {
		name string
		key  imagecache.Key
		img  imagecache.Image
	}{
		{"pinned", pinned, pinnedImage},
		{"live", live, liveImage},
		{"of nothing", imagecache.Key{}, imagecache.Image{}},
		{"of another type", pinned, imagecache.Image{ContentType: "image/x-new", Body: []byte{0}}},
		{"before 1970", pinned, imagecache.Image{LastModified: time.Unix(-1, 0).UTC()}},
		{"with only a validator", pinned, imagecache.Image{Origin: imagecache.Validator{ETag: `"a"`}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := imagecache.AppendRecord([]byte("before"), test.key, test.img)[len("before"):]
			key, img, err := imagecache.ParseRecord(b)
			if err != nil {
				t.Fatal(err)
			}
			expectSame(t, key, img, test.key, test.img)
			if len(img.Body) > 0 && &img.Body[0] != &b[len(b)-len(img.Body)] {
				t.Error("the body was copied")
			}
		})
	}
}

func TestParseRecordHeader_NeedsNoBody(t *testing.T) {
	key, img := liveRecord()
	whole := imagecache.AppendRecord(nil, key, img)
	header := imagecache.AppendRecordHeader(nil, key, img)
	if !bytes.Equal(append(header, img.Body...), whole) {
		t.Error("header and body are not the record")
	}
	gotKey, gotImg, size, err := imagecache.ParseRecordHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if size.Header != int64(len(header)) || size.Body != int64(len(img.Body)) || size.Total() != int64(len(whole)) {
		t.Errorf("lengths %+v of a record of %d + %d bytes", size, len(header), len(img.Body))
	}
	img.Body = nil
	expectSame(t, gotKey, gotImg, key, img)
}

func TestAppendRecord_RoundsTimesDown(t *testing.T) {
	key, img := liveRecord()
	img.LastModified = time.Unix(100, 999_999_999).In(time.FixedZone("", 3600))
	img.Fresh.Until = time.Unix(200, 1_999_999)
	_, got, err := imagecache.ParseRecord(imagecache.AppendRecord(nil, key, img))
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Unix(100, 0).UTC(); got.LastModified != want {
		t.Errorf("LastModified %v, want %v", got.LastModified, want)
	}
	if want := time.Unix(200, 1_000_000).UTC(); got.Fresh.Until != want {
		t.Errorf("Until %v, want %v", got.Fresh.Until, want)
	}
}

func TestParseRecord_RefusesTruncatedAndLongerRecords(t *testing.T) {
	key, img := liveRecord()
	b := imagecache.AppendRecord(nil, key, img)
	for n := range len(b) {
		if _, _, err := imagecache.ParseRecord(b[:n:n]); !errors.Is(err, imagecache.ErrRecord) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, _, err := imagecache.ParseRecord(append(b, 0)); !errors.Is(err, imagecache.ErrRecord) {
		t.Errorf("a byte longer: %v", err)
	}
}

func TestParseRecord_RefusesUnknownVersionsAndFlags(t *testing.T) {
	key, img := pinnedRecord()
	for _, flip := range []struct {
		at   int
		bits byte
	}{{0, 2}, {1, 1 << 1}, {1, 1 << 4}, {1, 1 << 7}} {
		b := imagecache.AppendRecord(nil, key, img)
		b[flip.at] ^= flip.bits
		if _, _, err := imagecache.ParseRecord(b); !errors.Is(err, imagecache.ErrRecord) {
			t.Errorf("byte %d with bits %#x flipped: %v", flip.at, flip.bits, err)
		}
	}
}

// Records on disk were written by format version 1, and must stay readable as long as the version
// is 1.
func TestParseRecord_ReadsVersionOne(t *testing.T) {
	const stored = "\x01\x07v\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00" +
		"\x19/64x/live/posts/~w6k.webp\x0b\x05\x00\x02é\x03\"\"9f86d081884c7d659a2feaa0c55ad015\"\xc0\x9f\xa9\xb0\r" +
		"\x06W/\"é\"\x80\x9b\xec\xaf\r\xf6\x8d\x9e\xc2\xc1h\xf8\xc7\xd5\xc5\xc1h\xa0\xfe\n\x80\xba\xb7\x03" +
		"RIFF....WEBPVP8 "
	key, img, err := imagecache.ParseRecord([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	wantKey, want := liveRecord()
	want.Fresh.Date = time.Time{} // a field that the first records did not have
	expectSame(t, key, img, wantKey, want)
}

func TestParseRecord_AllocatesOnce(t *testing.T) {
	key, img := liveRecord()
	b := imagecache.AppendRecord(nil, key, img)
	var err error
	if n := testing.AllocsPerRun(100, func() { _, _, err = imagecache.ParseRecord(b) }); n > 1 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
	b = make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { imagecache.AppendRecord(b, key, img) }); n > 0 {
		t.Errorf("%v allocations to write", n)
	}
}

func FuzzRecord_AppendParse_RoundTrips(f *testing.F) {
	f.Add("/64x/live/posts/cat.webp", "posts", "cat", "image/webp", `"x"`, int64(1),
		`W/"y"`, int64(2), int64(3), int64(4), int64(5), int64(6), true, false, []byte("body"))
	f.Add("", "", "", "", "", int64(math.MinInt64),
		"", int64(math.MaxInt64), int64(math.MinInt64), int64(0), int64(-1), int64(0), false, true, []byte(nil))
	f.Fuzz(func(t *testing.T, path, source, name, contentType, etag string, lastModified int64,
		originTag string, originModified, generated, until, swr, sie int64, must, noStore bool, body []byte) {
		const ms = int64(time.Millisecond)
		key := imagecache.NewKey(path, imagecache.Original{Source: source, Name: name})
		img := imagecache.Image{
			Body: body, ContentType: contentType, ETag: etag, LastModified: time.Unix(lastModified, 0).UTC(),
			Origin: imagecache.Validator{ETag: originTag, LastModified: time.Unix(originModified, 0).UTC()},
			Fresh: imagecache.Freshness{
				Generated: time.UnixMilli(generated).UTC(), Until: time.UnixMilli(until).UTC(),
				StaleWhileRevalidate: time.Duration(swr / ms * ms), StaleIfError: time.Duration(sie / ms * ms),
				MustRevalidate: must, NoStore: noStore,
			},
		}
		gotKey, gotImg, err := imagecache.ParseRecord(imagecache.AppendRecord(nil, key, img))
		if err != nil {
			t.Fatal(err)
		}
		expectSame(t, gotKey, gotImg, key, img)
	})
}

func FuzzParseRecord_AppendRecord_RoundTrips(f *testing.F) {
	f.Add(imagecache.AppendRecord(nil, imagecache.Key{}, imagecache.Image{}))
	key, img := pinnedRecord()
	f.Add(imagecache.AppendRecord(nil, key, img))
	key, img = liveRecord()
	f.Add(imagecache.AppendRecord(nil, key, img))
	f.Add([]byte("\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" + strings.Repeat("\xff", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, img, err := imagecache.ParseRecord(b)
		if err != nil {
			if !errors.Is(err, imagecache.ErrRecord) {
				t.Errorf("%v is not ErrRecord", err)
			}
			return
		}
		again, imgAgain, err := imagecache.ParseRecord(imagecache.AppendRecord(nil, key, img))
		if err != nil {
			t.Fatal(err)
		}
		expectSame(t, again, imgAgain, key, img)
	})
}

func expectSame(t *testing.T, key imagecache.Key, img imagecache.Image, wantKey imagecache.Key, want imagecache.Image) {
	t.Helper()
	if key != wantKey {
		t.Errorf("key %q of %q, want %q of %q", key, key.Original(), wantKey, wantKey.Original())
	}
	if !bytes.Equal(img.Body, want.Body) {
		t.Errorf("body %q, want %q", img.Body, want.Body)
	}
	if img.ContentType != want.ContentType || img.ETag != want.ETag || img.LastModified != want.LastModified {
		t.Errorf("%q %q %v, want %q %q %v",
			img.ContentType, img.ETag, img.LastModified, want.ContentType, want.ETag, want.LastModified)
	}
	if img.Origin != want.Origin || img.Fresh != want.Fresh {
		t.Errorf("%+v %+v, want %+v %+v", img.Origin, img.Fresh, want.Origin, want.Fresh)
	}
}
