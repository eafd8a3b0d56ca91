package main

import (
	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

// macOS is for development: it has no sandbox and no limits of memory that this program could set.

// descriptorDir has an entry for each open descriptor.
const descriptorDir = "/dev/fd/"

func memoryLimits(uint64) []resourceLimit { return nil }

// redirect makes descriptor "to" refer to the open file of descriptor "from".
func redirect(to, from int) error { return unix.Dup2(from, to) }

func sandbox(hello *wire.Hello) {
	hello.Missing = append(hello.Missing, "landlock, seccomp, memory limit: macOS has none of them (development only)")
}

func loopholes() []string { return nil }
