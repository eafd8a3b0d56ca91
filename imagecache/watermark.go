package imagecache

import "strings"

// marked returns key with the digest of the watermark that its Spec asks for, if any:
// "/640x-wm.logo/v.1/posts/cat.jpg.webp?wm=9f86d081884c7d65". No path of a Ref has a "?".
// A key that has one already stays as it is.
func (c *Cache) marked(key Key) Key {
	if len(c.marks) == 0 {
		return key
	}
	// Keys are canonical: the shape is all up to the second slash, its options stand behind
	// dashes, and no name of a watermark has one.
	shape, _, _ := strings.Cut(strings.TrimPrefix(key.path, "/"), "/")
	_, name, has := strings.Cut(shape, "-wm.")
	if !has || strings.Contains(key.path, "?") {
		return key
	}
	name, _, _ = strings.Cut(name, "-")
	if digest, ok := c.marks[name]; ok {
		key.path += "?wm=" + digest
	}
	return key
}
