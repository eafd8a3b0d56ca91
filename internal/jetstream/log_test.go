package jetstream

import (
	"errors"
	"testing"
)

func TestCheck_Replicas(t *testing.T) {
	url := cluster(t)
	if err := Check(t.Context(), url, 1); err != nil {
		t.Error(err)
	}
	if err := Check(t.Context(), url, 3); !errors.Is(err, ErrSingleServer) {
		t.Errorf("three replicas on one server: %v", err)
	}
	if err := Check(t.Context(), "nats://127.0.0.1:1", 1); err == nil || errors.Is(err, ErrSingleServer) {
		t.Errorf("no server: %v", err)
	}
}
