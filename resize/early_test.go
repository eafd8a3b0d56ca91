package resize_test

import (
	"testing"
	"testing/synctest"

	"github.com/novasocial/imagetier/resize"
)

func TestArriving_WaitersSeeProgressAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := resize.NewArriving(5)
		more, whole := make(chan string, 1), make(chan bool, 1)
		go func() { more <- string(a.More(2)) }()
		go func() { _, usable := a.Whole(); whole <- usable }()
		a.Add([]byte("ph"))
		synctest.Wait()
		if len(more) > 0 {
			t.Error("two bytes are not more than two")
		}
		a.Add([]byte("photo"))
		if got := <-more; got != "photo" {
			t.Errorf("got %q", got)
		}
		synctest.Wait()
		if len(whole) > 0 {
			t.Error("a waiter got the original before its end")
		}
		a.End(true)
		a.End(false) // has no effect
		if !<-whole {
			t.Error("not usable")
		}
		if got := a.More(5); len(got) != 5 {
			t.Errorf("%d bytes after the end", len(got))
		}
	})
}

func TestArriving_End_NotUsable(t *testing.T) {
	for name, c := range map[string]struct {
		bytes  string
		usable bool
	}{
		"refused":   {"photo", false},
		"too short": {"phot", true},
	} {
		a := resize.NewArriving(5)
		a.Add([]byte(c.bytes))
		a.End(c.usable)
		a.Add([]byte("photo")) // too late
		if bytes, usable := a.Whole(); usable || string(bytes) != c.bytes {
			t.Errorf("%s: %q, usable %v", name, bytes, usable)
		}
	}
}
