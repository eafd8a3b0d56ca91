package profile

import (
	"encoding/json"
	"fmt"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// Image is a version of an original, to which Specs are applied. It is comparable. The zero Image
// names nothing.
type Image struct {
	Source  string // alias of a source
	Name    string // of the object in the source, decoded; any bytes
	Version imageurl.Version
}

// NewImage returns the Image with these parts. It fails if no Ref can have them; the error wraps
// imageurl.ErrSyntax.
func NewImage(source, name string, v imageurl.Version) (Image, error) {
	return Image{Source: source, Name: name, Version: v}, imageurl.CheckImage(source, name)
}

// Ref names the variant of the image that spec describes. The error is imageurl.NewRef's.
func (i Image) Ref(spec resize.Spec) (imageurl.Ref, error) {
	return imageurl.NewRef(i.Source, i.Name, i.Version, spec)
}

// IsZero reports whether i names nothing.
func (i Image) IsZero() bool { return i == Image{} }

// WithETag returns the image pinned to a strong entity tag of its original, given without quotes, as
// the rule etag does once the tag is known.
func (i Image) WithETag(tag string) (Image, error) {
	v, err := imageurl.NewVersion(imageurl.ETag, tag)
	if err != nil {
		return Image{}, err
	}
	i.Version = v
	return i, nil
}

// String returns the image as its orig URL spells it after the shape: version/source/name.
func (i Image) String() string {
	ref, err := i.Ref(resize.Spec{Shape: resize.ShapeOriginal})
	if err != nil {
		return "no image"
	}
	return ref.String()[len("/orig/"):]
}

// MarshalJSON writes String, since names can have bytes that JSON strings cannot.
func (i Image) MarshalJSON() ([]byte, error) {
	if i.IsZero() {
		return []byte("null"), nil
	}
	if _, err := NewImage(i.Source, i.Name, i.Version); err != nil {
		return nil, err
	}
	return json.Marshal(i.String())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Image) UnmarshalJSON(text []byte) error {
	var spelled *string
	if err := json.Unmarshal(text, &spelled); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if spelled == nil {
		*i = Image{}
		return nil
	}
	ref, err := imageurl.ParseRef("/orig/" + *spelled)
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	*i = Image{Source: ref.Source(), Name: ref.Name(), Version: ref.Version()}
	return nil
}
