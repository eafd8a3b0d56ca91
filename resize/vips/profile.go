package vips

func isSRGB(profile []byte) bool { return false }
