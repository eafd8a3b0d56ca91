package upstream

import (
	"testing"
	"time"

	"google.golang.org/grpc/keepalive"
)

// SEED.md G2, G4, G7: the figures of the rows. That they are kept is in the other tests,
// with shorter ones.
func TestTheDefaultsAreTheSeeds(t *testing.T) {
	cfg := Config{}.withDefaults()
	if got, want := keepaliveOf(cfg), (keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}); got != want {
		t.Errorf("keep-alive %+v, want %+v", got, want)
	}
	if cfg.ConnectTimeout != 5*time.Second || cfg.CallTimeout != 5*time.Second {
		t.Errorf("connect %v, call %v, want 5s each", cfg.ConnectTimeout, cfg.CallTimeout)
	}
	// gRPC gives an attempt to connect as long as the pause after it, if that is longer.
	if longest := longestPause * 12 / 10; longest > cfg.ConnectTimeout {
		t.Errorf("a pause of up to %v would stretch the connect timeout", longest)
	}
}

// content.proto: created_at.
func TestSecondsAndMillisecondsAreToldApart(t *testing.T) {
	for unix, want := range map[int64]time.Time{
		0:                         {},
		-1:                        {},
		1:                         time.Date(1970, 1, 1, 0, 0, 1, 0, time.UTC),
		1_795_867_200:             time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
		1_795_867_200_123:         time.Date(2026, 11, 28, 12, 0, 0, 123e6, time.UTC),
		2_147_483_648:             time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC), // past an Int of GraphQL
		99_999_999_999:            time.Date(5138, 11, 16, 9, 46, 39, 0, time.UTC),
		100_000_000_000:           time.Date(1973, 3, 3, 9, 46, 40, 0, time.UTC),
		1_795_867_200_000_000_000: {}, // nanoseconds are neither
	} {
		if got := createdAt(unix); !got.Equal(want) {
			t.Errorf("%d is %v, want %v", unix, got, want)
		}
	}
}
