//go:build asan

package main

// addressSpace is no limit, because the address sanitizer reserves terabytes.
const addressSpace = 1<<64 - 1
