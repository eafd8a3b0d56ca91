package upstream_test

import (
	"net"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// Ping reaches every address that New accepts.
func TestPing_Addresses(t *testing.T) {
	addr := play(t, fakeservices.Config{}).Addr(fakeservices.Feed)
	for _, scheme := range []string{"", "dns:", "dns:///", "passthrough:", "passthrough:///"} {
		at := scheme + addr
		if err := upstream.Ping(t.Context(), at, nil); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestPing_Faults(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	if err := upstream.Ping(t.Context(), closed.Addr().String(), nil); err == nil ||
		!strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nothing listens: %v", err)
	}
}
