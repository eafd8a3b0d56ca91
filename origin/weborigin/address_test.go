package weborigin

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/origin"
)

func TestPublic(t *testing.T) {
	for list, want := range map[string]bool{
		// The first and last address of each refused block, and those just outside.
		`0.0.0.0 0.255.255.255
		 10.0.0.0 10.255.255.255
		 100.64.0.0 100.100.100.200 100.127.255.255
		 127.0.0.0 127.0.0.1 127.255.255.255
		 168.63.129.16
		 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255
		 172.16.0.0 172.31.255.255
		 192.0.0.0 192.0.0.192 192.0.0.255
		 192.0.2.0 192.0.2.255
		 192.88.99.0 192.88.99.255
		 192.168.0.0 192.168.255.255
		 198.18.0.0 198.19.255.255
		 198.51.100.0 198.51.100.255
		 203.0.113.0 203.0.113.255
		 224.0.0.0 239.255.255.255
		 240.0.0.0 255.255.255.254 255.255.255.255`: false,
		`1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0
		 100.63.255.255 100.128.0.0
		 126.255.255.255 128.0.0.0
		 168.63.129.15 168.63.129.17
		 169.253.255.255 169.255.0.0
		 172.15.255.255 172.32.0.0
		 191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0
		 192.88.98.255 192.88.100.0
		 192.167.255.255 192.169.0.0
		 198.17.255.255 198.20.0.0
		 198.51.99.255 198.51.101.0
		 203.0.112.255 203.0.114.0
		 223.255.255.255`: true,
		// IPv6: unspecified, loopback, unique local, link-local, site-local, multicast,
		// discard, documentation, benchmarks, ORCHID, SRv6, and unallocated space.
		`:: ::1 ::2
		 fc00:: fd00::1 fd00:ec2::254 fd20:ce::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
		 fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::1%eth0
		 fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
		 ff00:: ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
		 100:: 100::1 100:0:0:1::1
		 2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
		 2001:2:: 2001:10:: 2001:20::1 2001:1::1 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff
		 5f00:: 4000:: 8000::1 1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff e000::
		 2606:4700:4700::1111%eth0`: false,
		`2000:: 2606:4700:4700::1111 2001:4860:4860::8888 2a00:1450:4001:800::200e 2001:200:: 2620:fe::fe
		 2003:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff`: true,
		// IPv4 inside of IPv6: mapped, compatible, translated, 6to4, Teredo, ISATAP.
		`::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:7f00:1
		 ::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::ffff:0:8.8.8.8
		 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b::0.0.0.0
		 64:ff9b:1::8.8.8.8 64:ff9b:1::10.0.0.1 64:ff9b:0:1::8.8.8.8
		 2002:7f00:1::1 2002:a00:1::1 2002:a9fe:a9fe::1 2002:808:808::1
		 2001:0:a00:1::1 2001::f5ff:fffe 2001:0:808:808::f7f7:f7f7
		 2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:10.0.0.1 fe80::5efe:10.0.0.1 2606:4700::5efe:8.8.8.8`: false,
		`::ffff:8.8.8.8 ::ffff:808:808 64:ff9b::8.8.8.8 64:ff9b::808:808 2606:4700::5eff:10.0.0.1`: true,
	} {
		for _, s := range strings.Fields(list) {
			if got := public(netip.MustParseAddr(s)); got != want {
				t.Errorf("%s: public %v, want %v", s, got, want)
			}
		}
	}
}

func TestRefuseInternal(t *testing.T) {
	for _, c := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:80"}, {"tcp6", "[::1]:80"}, {"tcp6", "[fe80::1%eth0]:80"}, {"tcp6", "[::ffff:10.0.0.1]:80"},
		{"udp4", "8.8.8.8:53"}, {"unix", "/run/x.sock"}, {"tcp4", "localhost:80"}, {"tcp4", "8.8.8.8"}, {"tcp4", ""},
	} {
		if err := refuseInternal(t.Context(), c.network, c.address, nil); !errors.Is(err, origin.ErrDenied) {
			t.Errorf("%s %s: %v", c.network, c.address, err)
		}
	}
	for _, c := range []struct{ network, address string }{
		{"tcp4", "8.8.8.8:80"},
		{"tcp6", "[2606:4700:4700::1111]:443"},
	} {
		if err := refuseInternal(t.Context(), c.network, c.address, nil); err != nil {
			t.Errorf("%s %s: %v", c.network, c.address, err)
		}
	}
}
