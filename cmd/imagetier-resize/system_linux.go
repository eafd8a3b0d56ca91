package main

import "golang.org/x/sys/unix"

// descriptorDir has an entry for each open descriptor.
const descriptorDir = "/proc/self/fd/"

func memoryLimits(data uint64) []resourceLimit {
	return []resourceLimit{
		{"data", unix.RLIMIT_DATA, data}, {"address space", unix.RLIMIT_AS, addressSpace},
	}
}

// redirect makes descriptor "to" refer to the open file of descriptor "from".
func redirect(to, from int) error { return unix.Dup3(from, to, 0) }
