package pagecache

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
)

// codec encodes and decodes the payload of a record: fields in sequence, strings prefixed with
// their length, numbers as varints.
type codec[V any] struct {
	append func([]byte, *V) []byte
	parse  func([]byte) (V, error)
	id     func(*V) string // nil: the value does not contain its id
	size   func(*V) int    // approximate bytes in memory
}

var errPayload = errors.New("not a payload")

var sliceCodec = codec[feed.Slice]{
	append: func(b []byte, s *feed.Slice) []byte {
		b = binary.AppendUvarint(b, uint64(len(s.IDs)))
		for _, id := range s.IDs {
			b = appendString(b, id)
		}
		b = appendString(b, s.NextCursor)
		if s.HasMore {
			return append(b, 1)
		}
		return append(b, 0)
	},
	parse: func(b []byte) (s feed.Slice, err error) {
		r := newReader(b)
		n := r.uvarint()
		if n > uint64(len(b)) { // an id has at least one byte
			return s, errPayload
		}
		s.IDs = make([]string, n)
		for i := range s.IDs {
			s.IDs[i] = r.string()
		}
		s.NextCursor = r.string()
		more := r.uvarint()
		s.HasMore = more == 1
		if more > 1 {
			r.bad = true
		}
		return s, r.end()
	},
	size: func(s *feed.Slice) int {
		n := 64 + len(s.NextCursor)
		for _, id := range s.IDs {
			n += 16 + len(id)
		}
		return n
	},
}

// Flags of an encoded post.
const (
	postHasDate  = 1
	postIsPublic = 2
	postHasCrop  = 4
)

var postCodec = codec[feed.Post]{
	append: func(b []byte, p *feed.Post) []byte {
		for _, s := range [...]string{p.ID, p.UserID, p.Caption, p.ImageURL, p.ThumbnailURL} {
			b = appendString(b, s)
		}
		b = binary.AppendVarint(b, p.Likes)
		b = binary.AppendVarint(b, p.Comments)
		flags := byte(0)
		if !p.CreatedAt.IsZero() {
			flags |= postHasDate
		}
		if p.Public {
			flags |= postIsPublic
		}
		if p.Crop != "" {
			flags |= postHasCrop
		}
		b = append(b, flags)
		if p.Crop != "" {
			b = appendString(b, p.Crop)
		}
		if p.CreatedAt.IsZero() {
			return b
		}
		b = binary.AppendVarint(b, p.CreatedAt.Unix())
		return binary.AppendUvarint(b, uint64(p.CreatedAt.Nanosecond()))
	},
	parse: func(b []byte) (p feed.Post, err error) {
		r := newReader(b)
		for _, s := range [...]*string{&p.ID, &p.UserID, &p.Caption, &p.ImageURL, &p.ThumbnailURL} {
			*s = r.string()
		}
		p.Likes, p.Comments = r.varint(), r.varint()
		flags := r.uvarint()
		if flags > postHasDate|postIsPublic|postHasCrop {
			r.bad = true
		}
		if flags&postHasCrop != 0 {
			p.Crop = r.string()
			r.bad = r.bad || p.Crop == ""
		}
		p.Public = flags&postIsPublic != 0
		if flags&postHasDate != 0 {
			seconds, nanos := r.varint(), r.uvarint()
			p.CreatedAt = time.Unix(seconds, int64(nanos)).UTC()
			if nanos >= 1e9 || p.CreatedAt.IsZero() {
				r.bad = true
			}
		}
		return p, r.end()
	},
	id: func(p *feed.Post) string { return p.ID },
	size: func(p *feed.Post) int {
		return 160 + len(p.ID) + len(p.UserID) + len(p.Caption) + len(p.ImageURL) + len(p.ThumbnailURL) + len(p.Crop)
	},
}

var profileCodec = codec[feed.Profile]{
	append: func(b []byte, p *feed.Profile) []byte {
		return appendString(appendString(appendString(b, p.ID), p.Username), p.AvatarURL)
	},
	parse: func(b []byte) (p feed.Profile, err error) {
		r := newReader(b)
		p = feed.Profile{ID: r.string(), Username: r.string(), AvatarURL: r.string()}
		return p, r.end()
	},
	id:   func(p *feed.Profile) string { return p.ID },
	size: func(p *feed.Profile) int { return 48 + len(p.ID) + len(p.Username) + len(p.AvatarURL) },
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader decodes a payload. Its strings share one copy of the payload.
type reader struct {
	rest []byte
	text string // the same bytes
	bad  bool
}

func newReader(b []byte) *reader { return &reader{rest: b, text: string(b)} }

// end returns an error unless the payload was valid and read completely.
func (r *reader) end() error {
	if r.bad || len(r.rest) > 0 {
		return errPayload
	}
	return nil
}

func (r *reader) skip(n int) {
	if n <= 0 || n > len(r.rest) {
		r.bad, r.rest = true, nil
		return
	}
	r.rest = r.rest[n:]
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	at := len(r.text) - len(r.rest)
	r.rest = r.rest[n:]
	return r.text[at : at+int(n)]
}
