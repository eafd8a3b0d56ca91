package origin

import (
	"context"
	"net"
	"syscall"
	"time"
)

// userTimeout is how long sent data may stay unacknowledged before the connection is closed (RFC
// 5482). The kernel alone takes many minutes, so a request on a connection that a NAT or firewall
// has dropped would cost a whole --origin-timeout. It leaves room for three retransmissions, and in
// the default of 5 s for another try.
const userTimeout = 2 * time.Second

// DetectDeadPeers makes connections of d fail soon after the peer has disappeared, both idle ones
// (keep-alive probes) and those with a request in flight.
func DetectDeadPeers(d *net.Dialer) {
	d.KeepAlive = 15 * time.Second
	check := d.ControlContext
	d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if check != nil {
			if err := check(ctx, network, address, c); err != nil {
				return err
			}
		}
		return c.Control(setUserTimeout)
	}
}
