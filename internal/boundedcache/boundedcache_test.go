package boundedcache

import (
	"testing"
	"testing/synctest"
	"time"
)

func has(m *Map[int, string], key int) bool {
	_, ok := m.Get(key)
	return ok
}

func TestMap_Put_BoundsEntriesAndKeepsRenewed(t *testing.T) {
	m := Map[int, string]{Max: 10}
	for i := range 1000 {
		m.Put(i, "x")
		if got := m.GetOrPut(0, func() string { return "new" }); got != "x" {
			t.Fatalf("key 0 is %q after %d", got, i)
		}
		if !has(&m, max(0, i-8)) {
			t.Fatalf("key %d is gone after %d", i-8, i)
		}
	}
	if n := len(m.young) + len(m.old); n > 20 {
		t.Errorf("%d entries", n)
	}
	if m.Delete(999); has(&m, 999) {
		t.Error("a deleted key is there")
	}
}

func TestMap_Put_ReportsWhatItDrops(t *testing.T) {
	dropped := make(map[int]int)
	m := Map[int, string]{Max: 10, Drop: func(key int, value string) { dropped[key]++ }}
	for i := range 1000 {
		m.Put(i, "x")
		m.Put(0, "x")
	}
	for i := range 1000 {
		want := 1
		if has(&m, i) {
			want = 0
		}
		if dropped[i] != want {
			t.Errorf("key %d was dropped %d times, want %d", i, dropped[i], want)
		}
	}
}

func TestMap_Get_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, offset := range []time.Duration{0, time.Second, 59 * time.Second, 61 * time.Second} {
			m := Map[int, string]{Max: 10, TTL: time.Minute}
			m.Put(1, "x")
			time.Sleep(offset)
			m.Put(2, "x")
			time.Sleep(time.Minute)
			if !has(&m, 2) {
				t.Errorf("offset %v: gone after its TTL", offset)
			}
			time.Sleep(time.Minute + 1)
			if has(&m, 1) || has(&m, 2) {
				t.Errorf("offset %v: there after twice its TTL", offset)
			}
		}
	})
}
