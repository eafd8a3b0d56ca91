package imageurl

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSigner_Sign_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := signer(t, key("k1"), key("k2"))
		r := ref(t, "posts", "a.jpg", "v.1", "640x.webp")
		end := time.Now().Add(time.Hour)
		path, err := s.Sign(r, SignOptions{KeyID: "k2", Expires: end})
		if err != nil {
			t.Fatal(err)
		}
		got, expires, err := s.ParseExpiring(path)
		if got != r || !expires.Equal(end) || err != nil {
			t.Errorf("%s: %v, %v, %v; want %v until %v", path, got, expires, err, r, end)
		}
		signature, rest, _ := strings.Cut(strings.TrimPrefix(path, Prefix), "/")
		parts := strings.Split(signature, ".")
		for name, forged := range map[string]string{
			"without expiry": parts[0] + "." + parts[1],
			"empty expiry":   parts[0] + "." + parts[1] + ".",
			"later":          parts[0] + "." + parts[1] + "." + "9" + parts[2],
			"leading zero":   parts[0] + "." + parts[1] + ".0" + parts[2],
			"sign":           parts[0] + "." + parts[1] + ".+" + parts[2],
			"more":           parts[0] + "." + parts[1] + "." + parts[2] + ".1",
			"other key":      "k1." + parts[1] + "." + parts[2],
		} {
			_, err := s.Parse(Prefix + forged + "/" + rest)
			if !errors.Is(err, ErrSignature) || errors.Is(err, ErrExpired) {
				t.Errorf("%s: %v", name, err)
			}
		}
		time.Sleep(time.Hour - time.Second)
		if _, err := s.Parse(path); err != nil {
			t.Errorf("a second before: %v", err)
		}
		time.Sleep(time.Second)
		got, expires, err = s.ParseExpiring(path)
		if !errors.Is(err, ErrExpired) || !errors.Is(err, ErrSignature) || got != r || !expires.Equal(end) {
			t.Errorf("at the end: %v, %v, %v", got, expires, err)
		}
	})
}

func TestSigner_Sign_Errors(t *testing.T) {
	s := signer(t, key("k1"))
	r := ref(t, "posts", "a.jpg", "v.1", "640x.webp")
	for name, o := range map[string]SignOptions{
		"unknown key": {KeyID: "k2"},
		"before 1970": {Expires: time.Unix(-5, 0)},
		"too late":    {Expires: time.Unix(1e11, 0)},
	} {
		if path, err := s.Sign(r, o); err == nil {
			t.Errorf("%s: %s", name, path)
		}
	}
	if path, err := s.Sign(r, SignOptions{}); err != nil || path != s.Path(r) {
		t.Errorf("without options: %s, %v", path, err)
	}
}

func TestExpiry_SameAllDay(t *testing.T) {
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	want := time.Date(2026, 12, 3, 0, 0, 0, 0, time.UTC)
	for _, now := range []time.Time{noon.Add(-12*time.Hour + time.Second), noon, noon.Add(12 * time.Hour)} {
		if got := Expiry(now, 48*time.Hour, 0); !got.Equal(want) {
			t.Errorf("at %v: %v, want %v", now, got.UTC(), want)
		}
	}
	if got := Expiry(noon, time.Hour, time.Hour); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("a window of an hour: %v", got.UTC())
	}
}
