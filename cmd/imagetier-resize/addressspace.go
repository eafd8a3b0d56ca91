//go:build !asan

package main

// addressSpace is a generous limit in bytes: a Go and libvips process of 46 MB maps over 1.5 GB.
const addressSpace = 16 << 30
