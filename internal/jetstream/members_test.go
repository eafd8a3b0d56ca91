package jetstream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBus_Members_ListsLiveMembers(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for an entry to expire")
	}
	b := outside(t)
	for _, id := range []string{"a", "b", "c", "b"} {
		if err := b.PutMember(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.RemoveMember(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	members, err := b.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range members.Nodes {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"a", "b"}) || members.Nodes[0].Put.IsZero() || members.Age <= 0 {
		t.Errorf("%+v", members)
	}
}

// A restarted cluster has lost the list, but may have kept its time of creation.
func TestBus_Members_AgeBeginsWithConnection(t *testing.T) {
	b := outside(t)
	age := func() time.Duration {
		t.Helper()
		list, err := b.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list.Age
	}
	until(t, "the list is 300 ms old", func() bool { return age() >= 300*time.Millisecond })
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := s.conn.ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	until(t, "the connection is back", s.conn.IsConnected)
	if got := age(); got > time.Since(began) {
		t.Errorf("the list is %v old, the connection %v", got, time.Since(began))
	}
}

func TestBus_AppendAfter_RefusesWhenAnotherWasFaster(t *testing.T) {
	b := outside(t)
	if number, data, err := b.Last(t.Context(), Takedowns, "x"); number != 0 || err != nil {
		t.Fatalf("%d %q %v of a subject that has no message", number, data, err)
	}
	first, err := b.AppendAfter(t.Context(), Takedowns, "x", 0, []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AppendAfter(t.Context(), Takedowns, "x", 0, []byte("2")); !errors.Is(err, ErrConflict) {
		t.Errorf("appended behind nothing: %v", err)
	}
	if _, err := b.AppendAfter(t.Context(), Takedowns, "x", first, []byte("3")); err != nil {
		t.Error(err)
	}
	if number, data, err := b.Last(t.Context(), Takedowns, "x"); number <= first || string(data) != "3" || err != nil {
		t.Errorf("%d %q %v", number, data, err)
	}
}

// outside returns a Bus over an external server.
func outside(t *testing.T) *Bus {
	t.Helper()
	b, stop := run(t, Config{URL: cluster(t), Replicas: 1})
	t.Cleanup(stop)
	for _, l := range []Log{Purges, Takedowns} { // as Follow makes them
		s, err := b.session()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.log(t.Context(), b, l); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestBus_Run_DoesNotFallBackToOneReplica(t *testing.T) {
	url := cluster(t) // one server
	b, err := New(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	conn, end, err := b.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	_, err = b.open(t.Context(), conn)
	if err == nil || !strings.Contains(err.Error(), "3 replicas (--stream-replicas)") {
		t.Errorf("%v, want an error that names the setting", err)
	}
}

func TestBus_AppendAfter_ReportsFullStream(t *testing.T) {
	b := outside(t)
	s, err := b.session()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Takedowns.config()
	cfg.MaxBytes = 1000
	if _, err := s.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	number, err := b.AppendAfter(t.Context(), Takedowns, "x", 0, make([]byte, 500))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AppendAfter(t.Context(), Takedowns, "y", 0, make([]byte, 500)); !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
	if _, err := b.AppendAfter(t.Context(), Takedowns, "x", number, make([]byte, 500)); err != nil {
		t.Errorf("a lift that replaces its takedown: %v", err)
	}
}
