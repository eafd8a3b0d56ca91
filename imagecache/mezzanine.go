package imagecache

import (
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// MezzanineKey returns the key of the mezzanine of side pixels of ref's original in the
// tier of originals: "/mezzanine-1440/v.1/posts/cat.jpg". No Ref has such a path, and a
// purge of the original removes it with everything else that is made of it.
func MezzanineKey(ref imageurl.Ref, side int) (Key, error) {
	orig, err := ref.WithSpec(resize.Spec{Shape: resize.ShapeOriginal})
	if err != nil {
		return Key{}, err
	}
	key := KeyOf(orig)
	return NewKey("/mezzanine-"+strconv.Itoa(side)+strings.TrimPrefix(key.path, "/orig"), key.original), nil
}
