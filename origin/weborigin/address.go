package weborigin

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/novasocial/imagetier/origin"
)

// refuseInternal is a net.Dialer's ControlContext. It checks the resolved address just
// before the connection is made, so DNS rebinding cannot bypass it.
func refuseInternal(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", origin.ErrDenied, network)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: parse address: %w", origin.ErrDenied, err)
	}
	if !public(at.Addr()) {
		return fmt.Errorf("%w: %s is not a public address", origin.ErrDenied, at.Addr())
	}
	return nil
}

// public reports whether ip is a public internet address. It is not if the IANA
// special-purpose registries (RFC 6890, as of 2026) say that it is not globally
// reachable, if it is unallocated, or if it embeds such an IPv4 address in IPv6.
func public(ip netip.Addr) bool {
	if ip.Zone() != "" {
		return false
	}
	ip = ip.Unmap() // ::ffff:10.0.0.1
	if ip.Is6() && nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if ip.Is4() {
		return !within(ip, internal4)
	}
	return global6.Contains(ip) && !within(ip, internal6) && !isatap(ip)
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// isatap reports whether the interface identifier of ip is an IPv4 address of ISATAP
// (RFC 5214, 6.1): ::0:5efe:10.0.0.1 and ::200:5efe:10.0.0.1 lead into the site.
func isatap(ip netip.Addr) bool {
	b := ip.As16()
	return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

func prefixes(s ...string) []netip.Prefix {
	p := make([]netip.Prefix, len(s))
	for i := range s {
		p[i] = netip.MustParsePrefix(s[i])
	}
	return p
}

var (
	// nat64 embeds an IPv4 address in its last 32 bits (RFC 6052). Networks without
	// IPv4 reach IPv4 hosts through it, so the IPv4 address decides.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
	// global6 is the space from which IANA allocates global unicast addresses. It
	// excludes ::1, ::, IPv4-compatible ::/96, local NAT64 (64:ff9b:1::/48), discard
	// (100::/64), SRv6 (5f00::/16), unique local fc00::/7, link-local fe80::/10,
	// site-local fec0::/10 and multicast ff00::/8.
	global6 = netip.MustParsePrefix("2000::/3")

	internal6 = prefixes(
		"2001::/23",     // protocol assignments: Teredo 2001::/32, benchmarks, ORCHID, …
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4, an IPv4 address behind it
		"3fff::/20",     // documentation
	)
	internal4 = prefixes(
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // shared by carrier-grade NAT; metadata of Alibaba Cloud
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // the host agent of Azure, reachable from inside only
		"169.254.0.0/16",   // link-local; metadata of most clouds
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocol assignments; metadata of Oracle Cloud
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // relays of 6to4
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved; broadcast
	)
)
