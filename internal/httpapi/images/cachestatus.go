package images

import (
	"strconv"

	"github.com/novasocial/imagetier/imagecache"
)

// pinnedHits are the values of nearly all answers, made once.
var pinnedHits = func() (hits [imagecache.NumDetails]string) {
	for d := imagecache.Memory; d < imagecache.NumDetails; d++ {
		out := imagecache.Outcome{Detail: d, TTL: imagecache.PinnedTTL}
		hits[d] = string(appendCacheStatus(nil, out))
	}
	return hits
}()

// cacheStatus returns the Cache-Status, "" if the cache took no part.
func (x *exchange) cacheStatus() string {
	out := &x.out
	switch {
	case out.Forward != imagecache.Hit:
	case out.Detail == imagecache.None:
		return ""
	case out.TTL == imagecache.PinnedTTL:
		return pinnedHits[out.Detail]
	}
	return string(appendCacheStatus(make([]byte, 0, 96), *out))
}

var forwardNames = [...]string{
	imagecache.URIMiss:  "; fwd=uri-miss",
	imagecache.FwdStale: "; fwd=stale",
	imagecache.Bypass:   "; fwd=bypass",
}

// appendCacheStatus writes an Outcome as one member of Cache-Status (RFC 9211, 2).
func appendCacheStatus(b []byte, out imagecache.Outcome) []byte {
	b = append(b, "imagetier"...)
	if out.Forward == imagecache.Hit {
		b = strconv.AppendInt(append(b, "; hit; ttl="...), seconds(out.TTL), 10)
	} else {
		b = append(b, forwardNames[out.Forward]...)
		if out.Status > 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(out.Status), 10)
		}
		if out.Stored {
			b = append(b, "; stored"...)
		}
		if out.Collapsed {
			b = append(b, "; collapsed"...)
		}
	}
	if out.Detail != imagecache.None {
		b = append(append(b, "; detail="...), out.Detail.String()...)
	}
	return b
}
