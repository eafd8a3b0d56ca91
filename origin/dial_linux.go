package origin

import "syscall"

// tcpUserTimeout is TCP_USER_TIMEOUT (tcp(7)), in milliseconds.
const tcpUserTimeout = 18

func setUserTimeout(fd uintptr) {
	// Without it, a dead connection is only found later.
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds()))
}
