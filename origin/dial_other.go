//go:build !linux

package origin

func setUserTimeout(uintptr) {}
