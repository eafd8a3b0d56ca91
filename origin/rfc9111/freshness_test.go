package rfc9111

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
)

const (
	date     = "Date: Sun, 22 Nov 2026 10:00:00 GMT"
	modified = "Last-Modified: Sun, 22 Nov 2026 09:00:00 GMT" // an hour before date
	noon     = "Sun, 22 Nov 2026 12:00:00 GMT"                // two hours after date
)

var received = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func header(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

type fresh = origin.Freshness

var (
	silent  = fresh{Silent: true}
	noStore = fresh{NoStore: true}
	strict  = fresh{MustRevalidate: true}
	stale   = fresh{}
)

func lifetime(n int) fresh { return fresh{Lifetime: seconds(n)} }

func TestFreshness(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		want    fresh
	}{
		{"nothing", nil, silent},
		{"only a date", []string{date}, silent},
		{"only public", []string{"Cache-Control: public"}, silent},
		{"only an unknown directive", []string{"Cache-Control: immutable, foo=bar"}, silent},
		{"only empty members", []string{"Cache-Control: , ,,"}, silent},
		{"only RFC 5861", []string{"Cache-Control: stale-while-revalidate=60, stale-if-error=0"},
			fresh{Silent: true, StaleWhileRevalidate: seconds(60), StaleIfError: -time.Second}},

		{"max-age", []string{"Cache-Control: max-age=60"}, lifetime(60)},
		{"max-age of nothing", []string{"Cache-Control: max-age=0"}, stale},
		{"case does not matter", []string{"cache-control: MaX-aGe=60"}, lifetime(60)},
		{"spaces and tabs around members", []string{"Cache-Control: \t public ,\t max-age=60 "}, lifetime(60)},
		{"leading zeros", []string{"Cache-Control: max-age=0060"}, lifetime(60)},
		{"quoted as a token would be", []string{`Cache-Control: max-age="60"`}, lifetime(60)},
		{"quoted with escapes", []string{`Cache-Control: max-age="\6\0"`}, lifetime(60)},
		{"several lines", []string{"Cache-Control: public", "Cache-Control: max-age=60"}, lifetime(60)},
		{"s-maxage overrides max-age and is strict",
			[]string{"Cache-Control: max-age=60, s-maxage=90"}, fresh{Lifetime: seconds(90), MustRevalidate: true}},
		{"s-maxage overrides max-age in any order",
			[]string{"Cache-Control: s-maxage=90, max-age=60"}, fresh{Lifetime: seconds(90), MustRevalidate: true}},
		{"s-maxage=0 overrides max-age", []string{"Cache-Control: max-age=60, s-maxage=0"}, strict},
		{"max-age overrides Expires", []string{date, "Expires: " + noon, "Cache-Control: max-age=60"}, lifetime(60)},

		{"first of duplicates", []string{"Cache-Control: max-age=60, max-age=600"}, lifetime(60)},
		{"first of duplicates in lines",
			[]string{"Cache-Control: max-age=600", "Cache-Control: max-age=60"}, lifetime(600)},
		{"a duplicate does not replace a bad one", []string{"Cache-Control: max-age=x, max-age=60"}, stale},
		{"2^31 is kept", []string{"Cache-Control: max-age=2147483648"}, lifetime(1 << 31)},
		{"2^31+1 is 2^31", []string{"Cache-Control: max-age=2147483649"}, lifetime(1 << 31)},
		{"over 64 bits is 2^31", []string{"Cache-Control: max-age=99999999999999999999999999"}, lifetime(1 << 31)},
		{"negative", []string{"Cache-Control: max-age=-60"}, stale},
		{"signed", []string{"Cache-Control: max-age=+60"}, stale},
		{"a fraction", []string{"Cache-Control: max-age=60.5"}, stale},
		{"letters after", []string{"Cache-Control: max-age=60s"}, stale},
		{"no argument", []string{"Cache-Control: max-age"}, stale},
		{"an empty argument", []string{"Cache-Control: max-age="}, stale},
		{"an empty quoted argument", []string{`Cache-Control: max-age=""`}, stale},
		{"a quoted space", []string{`Cache-Control: max-age="60 "`}, stale},
		{"space before =", []string{"Cache-Control: max-age =60"}, stale},
		{"space after =", []string{"Cache-Control: max-age= 60"}, stale},
		{"two numbers", []string{"Cache-Control: max-age=60 60"}, stale},
		{"single quotes", []string{"Cache-Control: max-age='60'"}, stale},
		{"text after quotes", []string{`Cache-Control: max-age="60"0`}, stale},
		{"a semicolon for a comma", []string{"Cache-Control: max-age=60; public"}, stale},
		{"max-age does not replace a bad s-maxage", []string{"Cache-Control: max-age=60, s-maxage=x"}, strict},
		{"Expires does not replace a bad max-age",
			[]string{date, "Expires: " + noon, "Cache-Control: max-age=x"}, stale},
		{"a name that only begins so", []string{"Cache-Control: max-age2=60"}, silent},

		{"no-store", []string{"Cache-Control: no-store"}, noStore},
		{"no-store over a lifetime", []string{"Cache-Control: max-age=60, no-store"}, noStore},
		{"no-store on another line", []string{"Cache-Control: max-age=60", "Cache-Control: no-store"}, noStore},
		{"no-store with an argument", []string{"Cache-Control: no-store=1, max-age=60"}, noStore},
		{"no-store and junk", []string{"Cache-Control: no-store junk, max-age=60"}, noStore},
		{"no-store inside quotes is text", []string{`Cache-Control: ext="a, no-store, b", max-age=60`}, lifetime(60)},
		{"an escaped quote does not end the quotes",
			[]string{`Cache-Control: ext="a\", no-store, b", max-age=60`}, lifetime(60)},
		{"an open quote does not swallow no-store", []string{`Cache-Control: ext="a, no-store`}, noStore},
		{"private", []string{"Cache-Control: private, max-age=60"}, noStore},
		{"private of a field", []string{`Cache-Control: private="set-cookie", max-age=60`}, noStore},
		{"private over public", []string{"Cache-Control: public, private"}, noStore},
		{"must-understand lifts no-store",
			[]string{"Cache-Control: must-understand, no-store, max-age=60"}, lifetime(60)},
		{"must-understand does not lift private",
			[]string{"Cache-Control: must-understand, private, max-age=60"}, noStore},
		{"a malformed must-understand lifts nothing",
			[]string{"Cache-Control: must-understand=1, no-store, max-age=60"}, noStore},

		{"no-cache", []string{"Cache-Control: no-cache"}, strict},
		{"no-cache over a lifetime", []string{"Cache-Control: no-cache, max-age=60, s-maxage=60"}, strict},
		{"no-cache of a field", []string{`Cache-Control: no-cache="set-cookie, x", max-age=60`}, strict},
		{"no-cache has no stale-while-revalidate",
			[]string{"Cache-Control: no-cache, stale-while-revalidate=60, stale-if-error=60"}, strict},
		{"Pragma alone", []string{"Pragma: no-cache"}, strict},
		{"Pragma in a list", []string{"Pragma: x, No-Cache"}, strict},
		{"Pragma over Expires", []string{date, "Pragma: no-cache", "Expires: " + noon}, strict},
		{"Pragma is ignored with Cache-Control",
			[]string{"Pragma: no-cache", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Pragma of something else", []string{"Pragma: x-no-cache"}, silent},

		{"must-revalidate",
			[]string{"Cache-Control: max-age=60, must-revalidate"}, fresh{Lifetime: seconds(60), MustRevalidate: true}},
		{"proxy-revalidate", []string{"Cache-Control: max-age=60, proxy-revalidate"},
			fresh{Lifetime: seconds(60), MustRevalidate: true}},
		{"must-revalidate without a lifetime", []string{"Cache-Control: must-revalidate"}, strict},
		{"must-revalidate by Expires", []string{date, "Expires: " + noon, "Cache-Control: must-revalidate"},
			fresh{Lifetime: seconds(7200), MustRevalidate: true}},

		{"RFC 5861", []string{"Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=90"},
			fresh{Lifetime: seconds(60), StaleWhileRevalidate: seconds(30), StaleIfError: seconds(90)}},
		{"RFC 5861, unreadable",
			[]string{"Cache-Control: max-age=60, stale-while-revalidate=x, stale-if-error"},
			fresh{Lifetime: seconds(60), StaleIfError: -time.Second}},
		{"RFC 5861, no staleness", []string{"Cache-Control: max-age=60, stale-if-error=0"},
			fresh{Lifetime: seconds(60), StaleIfError: -time.Second}},
		{"RFC 5861 against must-revalidate",
			[]string{"Cache-Control: max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=90"},
			fresh{Lifetime: seconds(60), MustRevalidate: true}},
		{"RFC 5861 against s-maxage", []string{"Cache-Control: s-maxage=60, stale-while-revalidate=30"},
			fresh{Lifetime: seconds(60), MustRevalidate: true}},

		{"Expires", []string{date, "Expires: " + noon}, lifetime(7200)},
		{"Expires without Date", []string{"Expires: " + noon}, lifetime(7200)},
		{"Expires with a malformed Date", []string{"Date: today", "Expires: " + noon}, lifetime(7200)},
		{"Expires in the form of RFC 850", []string{date, "Expires: Sunday, 22-Nov-26 12:00:00 GMT"}, lifetime(7200)},
		{"Expires in the form of asctime", []string{date, "Expires: Sun Nov 22 12:00:00 2026"}, lifetime(7200)},
		{"Expires now", []string{date, "Expires: Sun, 22 Nov 2026 10:00:00 GMT"}, stale},
		{"Expires in the past", []string{date, "Expires: Sun, 22 Nov 2026 08:00:00 GMT"}, stale},
		{"Expires: 0", []string{date, "Expires: 0"}, stale},
		{"Expires: -1", []string{date, "Expires: -1"}, stale},
		{"Expires is empty", []string{date, "Expires: "}, stale},
		{"Expires in another zone", []string{date, "Expires: Sun, 22 Nov 2026 12:00:00 PST"}, stale},
		{"Expires in RFC 850 and another zone", []string{date, "Expires: Sunday, 22-Nov-26 12:00:00 PST"}, stale},
		{"Expires in ISO 8601", []string{date, "Expires: 2026-11-22T12:00:00Z"}, stale},
		{"two Expires", []string{date, "Expires: " + noon, "Expires: 0"}, stale},
		{"two Expires alike", []string{date, "Expires: " + noon, "Expires: " + noon}, stale},
		{"a malformed Expires overrides Last-Modified", []string{date, modified, "Expires: 0"}, stale},

		{"a tenth since Last-Modified", []string{date, modified}, lifetime(360)},
		{"a tenth since Last-Modified, with public", []string{date, modified, "Cache-Control: public"}, lifetime(360)},
		{"a tenth since Last-Modified, without Date", []string{modified}, lifetime(360)},
		{"a tenth, but no more than allowed",
			[]string{date, "Last-Modified: Sun, 22 Nov 2020 09:00:00 GMT"}, lifetime(86400)},
		{"a tenth since Last-Modified, and RFC 5861",
			[]string{date, modified, "Cache-Control: stale-while-revalidate=30, stale-if-error=90"},
			fresh{Lifetime: seconds(360), StaleWhileRevalidate: seconds(30), StaleIfError: seconds(90)}},
		{"a tenth since Last-Modified, no staleness", []string{date, modified, "Cache-Control: stale-if-error=0"},
			fresh{Lifetime: seconds(360), StaleIfError: -time.Second}},
		{"modified at this second", []string{date, "Last-Modified: Sun, 22 Nov 2026 10:00:00 GMT"}, stale},
		{"modified in the future", []string{date, "Last-Modified: " + noon}, silent},
		{"modified who knows when", []string{date, "Last-Modified: yesterday"}, silent},
		{"nothing is guessed against a lifetime", []string{date, modified, "Cache-Control: max-age=60"}, lifetime(60)},
		{"nothing is guessed against must-revalidate",
			[]string{date, modified, "Cache-Control: must-revalidate"}, strict},
		{"nothing is guessed against no-store", []string{date, modified, "Cache-Control: no-store"}, noStore},

		{"Vary by Accept-Encoding", []string{"Vary: accept-encoding", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Vary as CORS has it", []string{"Vary: Origin, Access-Control-Request-Headers",
			"Vary: Access-Control-Request-Method", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Vary: *", []string{"Vary: *", "Cache-Control: max-age=60"}, noStore},
		{"Vary: * in a list", []string{"Vary: Accept-Encoding, *", "Cache-Control: max-age=60"}, noStore},
		{"Vary by Accept", []string{"Vary: Accept", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Vary by Cookie on a second line",
			[]string{"Vary: Accept-Encoding", "Vary: Cookie", "Cache-Control: max-age=60"}, noStore},
		{"Vary by User-Agent, silent", []string{"Vary: User-Agent"}, silent},
		{"an empty Vary", []string{"Vary: ", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Set-Cookie", []string{"Set-Cookie: a=b", "Cache-Control: max-age=60"}, lifetime(60)},

		{"Age", []string{date, "Age: 30", "Cache-Control: max-age=60"}, fresh{Age: seconds(30), Lifetime: seconds(60)}},
		{"Age, silent", []string{date, "Age: 30"}, fresh{Age: seconds(30), Silent: true}},
		{"Age past the lifetime",
			[]string{date, "Age: 90", "Cache-Control: max-age=60"}, fresh{Age: seconds(90), Lifetime: seconds(60)}},
		{"first Age of a list",
			[]string{date, "Age: 30, 90", "Cache-Control: max-age=60"}, fresh{Age: seconds(30), Lifetime: seconds(60)}},
		{"first Age of lines", []string{date, "Age: 30", "Age: 90", "Cache-Control: max-age=60"},
			fresh{Age: seconds(30), Lifetime: seconds(60)}},
		{"Age is not a number", []string{date, "Age: old", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Age is negative", []string{date, "Age: -30", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Age is a fraction", []string{date, "Age: 30.5", "Cache-Control: max-age=60"}, lifetime(60)},
		{"Age over 2^31", []string{date, "Age: 9999999999", "Cache-Control: max-age=60"},
			fresh{Age: seconds(1 << 31), Lifetime: seconds(60)}},
		{"apparent age", []string{"Date: Sun, 22 Nov 2026 09:59:00 GMT", "Cache-Control: max-age=90"},
			fresh{Age: seconds(60), Lifetime: seconds(90)}},
		{"apparent age over a smaller Age", []string{"Date: Sun, 22 Nov 2026 09:59:00 GMT",
			"Age: 30", "Cache-Control: max-age=90"}, fresh{Age: seconds(60), Lifetime: seconds(90)}},
		{"a Date in the future is an age of 0",
			[]string{"Date: " + noon, "Cache-Control: max-age=90"}, lifetime(90)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Answer{
				Header:       header(c.headers...),
				Requested:    received,
				Received:     received,
				MaxHeuristic: 24 * time.Hour,
			}
			c.want.Received = received
			if got := Freshness(a); got != c.want {
				t.Errorf("Freshness(%q) =\n     %+v\nwant %+v", c.headers, got, c.want)
			}
		})
	}
}

func TestFreshness_Age(t *testing.T) {
	for _, c := range []struct {
		headers []string
		delay   time.Duration
		want    time.Duration
	}{
		{[]string{date}, 3 * time.Second, 3 * time.Second},
		{[]string{date, "Age: 30"}, 3 * time.Second, 33 * time.Second},
		// apparent_age includes the delay
		{[]string{"Date: Sun, 22 Nov 2026 09:59:00 GMT"}, 3 * time.Second, time.Minute},
		{[]string{"Date: Sun, 22 Nov 2026 09:59:00 GMT", "Age: 58"}, 3 * time.Second, 61 * time.Second},
		{[]string{date}, -time.Hour, 0}, // the clock was set back meanwhile
	} {
		a := Answer{Header: header(c.headers...), Requested: received.Add(-c.delay), Received: received}
		if got := Freshness(a).Age; got != c.want {
			t.Errorf("%q after %v: age %v, want %v", c.headers, c.delay, got, c.want)
		}
	}
}

func TestFreshness_NoHeuristic(t *testing.T) {
	a := Answer{Header: header(date, modified), Requested: received, Received: received}
	if got := Freshness(a); got != (fresh{Silent: true, Received: received}) {
		t.Errorf("got %+v, want silent", got)
	}
}

func TestRevalidated(t *testing.T) {
	a := Answer{Header: header(date, modified), Requested: received, Received: received, MaxHeuristic: time.Hour}
	if got := Revalidated(a); got != (fresh{Silent: true, Received: received}) {
		t.Errorf("got %+v, want silent", got)
	}
	a.Header = header(date, modified, "Cache-Control: max-age=60")
	if got := Revalidated(a); got != (fresh{Lifetime: seconds(60), Received: received}) {
		t.Errorf("got %+v, want 60 s", got)
	}
}

func TestParseDirectives(t *testing.T) {
	got := parseDirectives([]string{`a, B=c, D="e, \"f\"" ,, g="h"i, j k, =l, m="n`, `a=2, o=`})
	want := directives{
		"a": {}, "b": {value: "c", given: true}, "d": {value: `e, "f"`, given: true},
		"g": {value: "h", given: true, bad: true}, "j": {bad: true},
		"m": {value: `"n`, given: true, bad: true}, "o": {given: true, bad: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// FuzzFreshness checks invariants: durations in range, no lifetime with Silent or NoStore,
// and an added no-store always obeyed.
func FuzzFreshness(f *testing.F) {
	f.Add("max-age=60, no-cache=\"x\"", noon, "30", "Origin")
	f.Add("ext=\"\\\"", "0", "-1", "*")
	f.Fuzz(func(t *testing.T, cc, expires, age, vary string) {
		h := http.Header{"Cache-Control": {cc}, "Expires": {expires}, "Age": {age}, "Vary": {vary}}
		a := Answer{Header: h, Requested: received, Received: received, MaxHeuristic: time.Hour}
		got := Freshness(a)
		const limit = 250 * 365 * 24 * time.Hour
		for _, d := range []time.Duration{got.Age, got.Lifetime, got.StaleIfError, got.StaleWhileRevalidate} {
			if d < 0 || d > limit && d != got.Lifetime {
				t.Errorf("%q gives %+v", h, got)
			}
		}
		rest := got
		rest.Age, rest.Received, rest.Silent, rest.NoStore = 0, time.Time{}, false, false
		if got.Silent {
			rest.StaleWhileRevalidate, rest.StaleIfError = 0, 0
		}
		if (got.Silent || got.NoStore) && (rest != fresh{} || got.Silent == got.NoStore) {
			t.Errorf("%q gives %+v", h, got)
		}
		if got.MustRevalidate && got.StaleWhileRevalidate+got.StaleIfError > 0 {
			t.Errorf("%q must be revalidated, but has %+v", h, got)
		}
		if !strings.Contains(strings.ToLower(cc), "must-understand") {
			h["Cache-Control"] = []string{cc, "no-store"}
			if !Freshness(a).NoStore {
				t.Errorf("%q is stored", h)
			}
		}
	})
}
