package upstream

import (
	"context"
	"crypto/tls"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// Ping asks the service at an address, written as in [Config], for its health, over a connection of its own, with TLS
// unless secure is nil. A service that answers without implementing grpc.health.v1 is healthy.
func Ping(ctx context.Context, addr string, secure *tls.Config) error {
	s, err := newService("ping", addr, Config{TLS: secure}.withDefaults())
	if err != nil {
		return err
	}
	defer func() { _ = s.conn.Close() }()
	answer, err := grpc_health_v1.NewHealthClient(s.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{},
		grpc.WaitForReady(false)) // the error then says why there is no connection
	switch code := status.Code(err); {
	case err == nil && answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return fmt.Errorf("it reports %s", answer.GetStatus())
	case code == codes.Unavailable, code == codes.DeadlineExceeded, code == codes.Canceled:
		return err
	}
	return nil
}
