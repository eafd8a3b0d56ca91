package pagecache

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
)

// readBack writes a value and reads it, as Redis would give it back.
func readBack[V any](t *testing.T, c codec[V], v V) {
	t.Helper()
	got, err := c.parse(c.append(nil, &v))
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v is read back as %+v, %v", v, got, err)
	}
}

func TestCodec_RoundTrip(t *testing.T) {
	readBack(t, sliceCodec, feed.Slice{IDs: []string{}})
	readBack(t, sliceCodec, feed.Slice{IDs: []string{"a", "", "é"}, NextCursor: "c\x00", HasMore: true})
	readBack(t, postCodec, feed.Post{})
	readBack(t, postCodec, feed.Post{
		ID: "p", UserID: "u", Caption: "caption", ImageURL: "i", ThumbnailURL: "t",
		Likes: math.MaxInt64, Comments: math.MinInt64, CreatedAt: time.Unix(-1, 999_999_999).UTC(),
	})
	readBack(t, postCodec, feed.Post{CreatedAt: time.Unix(1<<40, 0).UTC()})
	readBack(t, postCodec, feed.Post{ID: "p", Public: true})
	readBack(t, postCodec, feed.Post{ID: "p", Crop: "100x50x800x900", CreatedAt: time.Unix(1, 0).UTC()})
	readBack(t, postCodec, feed.Post{Public: true, CreatedAt: time.Unix(1, 0).UTC()})
	readBack(t, profileCodec, feed.Profile{ID: "u", Username: "name", AvatarURL: "avatar"})
}

// fuzz checks that every value that can be read can be written and read back unchanged.
func fuzz[V any](t *testing.T, c codec[V], data []byte) {
	before := bytes.Clone(data)
	v, err := c.parse(data)
	if !bytes.Equal(data, before) {
		t.Fatal("the payload was changed")
	}
	if err == nil {
		readBack(t, c, v)
	}
}

func FuzzPayload(f *testing.F) {
	f.Add(sliceCodec.append(nil, &feed.Slice{IDs: []string{"a", "b"}, NextCursor: "c"}))
	f.Add(postCodec.append(nil, &feed.Post{ID: "p", CreatedAt: time.Unix(1, 1)}))
	f.Add(profileCodec.append(nil, &feed.Profile{ID: "u"}))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzz(t, sliceCodec, data)
		fuzz(t, postCodec, data)
		fuzz(t, profileCodec, data)
	})
}

func TestCodec_BitFlip(t *testing.T) {
	key := "post:meta:p"
	data := seal(Posts, key, 7, time.Unix(1e9, 0), func(b []byte) []byte { return append(b, "payload"...) })
	payload, until, state := unseal(Posts, key, data)
	if state != whole || string(payload) != "payload" || !until.Equal(time.Unix(1e9, 0)) || generation(data) != 7 {
		t.Fatalf("%q, %v, %v", payload, until, state)
	}
	for bit := range len(data) * 8 {
		data[bit/8] ^= 1 << (bit % 8)
		if _, _, state := unseal(Posts, key, data); state != damaged {
			t.Errorf("bit %d flipped: state %v", bit, state)
		}
		data[bit/8] ^= 1 << (bit % 8)
	}
	for n := range data {
		if _, _, state := unseal(Posts, key, data[:n]); state != damaged {
			t.Errorf("cut to %d bytes: state %v", n, state)
		}
	}
	if _, _, state := unseal(Posts, "post:meta:q", data); state != damaged {
		t.Errorf("under another key: state %v", state)
	}
	if _, _, state := unseal(Profiles, key, data); state != damaged {
		t.Errorf("a value of another kind: state %v, want damaged", state)
	}
	if _, _, state := unseal(Posts, key, bury(key)); state != tombstone {
		t.Errorf("a tombstone: state %v", state)
	}
}

// Another gateway's clock may be ahead by years.
func TestCodec_Freshness(t *testing.T) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	post := feed.Post{ID: "p"}
	payload := func(b []byte) []byte { return postCodec.append(b, &post) }
	data := seal(Posts, "post:meta:p", 7, time.Now().Add(1e6*time.Hour), payload)
	h, state := c.posts.open("p", data)
	if state != whole || time.Until(h.until) > 2*time.Minute || time.Until(h.gone) > 12*time.Minute {
		t.Errorf("state %v, fresh until %v", state, h.until)
	}
}
