package resize

// repairJPEG adds EOI where it is missing. Decoders take the end of the file for a truncation, and
// zeros or appended data for the rest of a scan.
func repairJPEG(b []byte) []byte {
	end, eoi, err := jpegEnd(b)
	if eoi || err != nil {
		return b
	}
	return append(append(make([]byte, 0, end+2), b[:end]...), 0xff, jpegEOI)
}
