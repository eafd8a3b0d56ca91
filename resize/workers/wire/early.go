package wire

import (
	"encoding/binary"
	"io"
)

// The original of an early job: WriteJob sends only its length, because it is still arriving. WritePiece
// sends it as it arrives, and WriteEnd says at last whether the child may use it.

// WritePiece sends the next bytes of the original of an Early job.
func WritePiece(w io.Writer, piece []byte) error {
	if _, err := w.Write(binary.LittleEndian.AppendUint32([]byte{kindPiece}, uint32(len(piece)))); err != nil {
		return err
	}
	_, err := w.Write(piece)
	return err
}

// WriteEnd ends the original of an Early job. The child may use it if all of it was sent and is verified.
func WriteEnd(w io.Writer, usable bool) error {
	kind := byte(kindUnusable)
	if usable {
		kind = kindWhole
	}
	_, err := w.Write([]byte{kind})
	return err
}
