package vips

// #include <stddef.h>
// #include <stdint.h>
import "C"

import (
	"context"
	"runtime"
	"runtime/cgo"

	"github.com/novasocial/imagetier/resize"
)

// tierArrived is described in direct.h.
//
//export tierArrived
func tierArrived(early C.uintptr_t, n C.size_t) C.size_t {
	original, ok := cgo.Handle(early).Value().(*resize.Arriving)
	if !ok {
		return n
	}
	return max(n, C.size_t(len(original.More(int(n)))))
}

// begin decodes a JPEG for the direct path while it arrives. It returns a job that has decoded, or nil if the original
// is of another kind, or anything is wrong with it or the Specs: all is then done again, by the same code as without
// begin, once the original is complete. begin does not check that the original is complete, so its result is only of
// use with decodes.
func (r *Resizer) begin(ctx context.Context, pin *runtime.Pinner, request resize.Job) *job {
	arrived := request.Early.More(0)
	if cap(arrived) < request.Early.Size() {
		return nil // it will be in another place in memory when it is complete
	}
	header, err := resize.ReadHeader(arrived)
	if err != nil || header.Kind != resize.KindJPEG || r.cfg.Limits.Check(header, request.Early.Size()) != nil {
		return nil
	}
	for _, s := range request.All() {
		if s.Trim || r.check(header, s) != nil { // trimming decodes before the direct path does
			return nil
		}
	}
	request.Original = arrived[:request.Early.Size()]
	j := r.newJob(request, header, readable{kind: header.Kind, file: request.Original, first: request.Original})
	j.readable.pin(pin)
	j.early = cgo.NewHandle(request.Early)
	err = j.decode(ctx)
	j.early.Delete()
	j.early = 0
	if err != nil || len(j.passes) == 0 {
		j.close()
		clearErrors()
		return nil
	}
	return j
}

// decodes reports whether j, the result of begin, has decoded just the original with this header that is now complete,
// and not one that had to be repaired. j may be nil.
func (j *job) decodes(complete readable, header resize.Header) bool {
	return j != nil && header == j.header && len(complete.file) == len(j.readable.file) &&
		&complete.file[0] == &j.readable.file[0]
}
