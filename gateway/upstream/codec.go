package upstream

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// maxFields is the maximum number of fields of an answer, of which each post is one: ten times what a call asks for.
const maxFields = 1000

// boundedCodec is gRPC's codec, which refuses answers of too many fields. An empty post takes 2 bytes of an answer and
// 200 bytes of memory: 4 MiB of them would take 400 MiB.
type boundedCodec struct{ encoding.CodecV2 }

func newBoundedCodec() boundedCodec { return boundedCodec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c boundedCodec) Unmarshal(data mem.BufferSlice, v any) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	rest := buffer.ReadOnlyData()
	for fields := 0; len(rest) > 0; fields++ {
		if fields == maxFields {
			return fmt.Errorf("an answer of more than %d fields", maxFields)
		}
		_, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			break // the codec says what is wrong
		}
		rest = rest[n:]
	}
	return c.CodecV2.Unmarshal(mem.BufferSlice{buffer}, v)
}
