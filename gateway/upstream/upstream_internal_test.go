package upstream

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/keepalive"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// The default values. Other tests check their effect with shorter ones.
func TestConfig_Defaults(t *testing.T) {
	cfg := Config{}.withDefaults()
	want := keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}
	if got := keepaliveOf(cfg); got != want {
		t.Errorf("keep-alive %+v, want %+v", got, want)
	}
	if cfg.ConnectTimeout != 5*time.Second || cfg.CallTimeout != 5*time.Second {
		t.Errorf("connect %v, call %v, want 5s each", cfg.ConnectTimeout, cfg.CallTimeout)
	}
	for _, timeout := range []time.Duration{time.Second, cfg.ConnectTimeout, time.Minute} {
		if longest := longestPause(timeout) * 12 / 10; longest > timeout {
			t.Errorf("a pause of up to %v would stretch a connect timeout of %v", longest, timeout)
		}
	}
}

// Wait begins when the connection is lost, not when the gateway was started days before.
func TestConnection_LossTime(t *testing.T) {
	fakes, err := fakeservices.Start(fakeservices.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer fakes.Close()
	s, err := New(Config{
		Feed: fakes.Addr(fakeservices.Feed), Content: fakes.Addr(fakeservices.Content),
		User: fakes.Addr(fakeservices.User),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = s.Run(ctx)
	}()
	defer func() { stop(); <-ran }()
	until := func(condition string, holds func(lost int64) bool) {
		t.Helper()
		for deadline := time.After(30 * time.Second); !holds(s.all[0].lost.Load()); {
			select {
			case <-deadline:
				t.Fatal("waited 30 s until", condition)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	until("the connection is up", func(lost int64) bool { return lost == 0 })
	killed := time.Now().UnixNano()
	fakes.Close()
	until("the loss of the connection is recorded", func(lost int64) bool { return lost >= killed })
}

// See created_at in content.proto.
func TestTimestamp_SecondsOrMilliseconds(t *testing.T) {
	for unix, want := range map[int64]time.Time{
		0:                         {},
		-1:                        {},
		1:                         time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC),
		1_795_867_200:             time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
		1_795_867_200_123:         time.Date(2026, 11, 28, 12, 0, 0, 123e6, time.UTC),
		2_147_483_648:             time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), // past an Int of GraphQL
		99_999_999_999:            time.Date(5138, 11, 16, 9, 46, 39, 0, time.UTC),
		100_000_000_000:           time.Date(1973, 3, 3, 9, 46, 40, 0, time.UTC),
		1_795_867_200_000_000_000: {}, // nanoseconds count as unknown
	} {
		if got := createdAt(unix); !got.Equal(want) {
			t.Errorf("%d is %v, want %v", unix, got, want)
		}
	}
}
