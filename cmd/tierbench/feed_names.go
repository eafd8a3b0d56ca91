package main

import (
	"fmt"
	"strconv"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/resize"
)

const (
	sourceName  = "posts"
	versionText = "v.1"
)

// naming maps posts and avatars to names of originals. Runs against the same tier need different
// names, since it caches the images of earlier runs.
type naming struct {
	run    string // prefix of all names: "" or a text that ends in "-"
	signer *imageurl.Signer
	set    *profile.Set
}

func newNaming(run string, keys string) (naming, error) {
	parsed, err := imageurl.ParseKeys(keys)
	if err != nil {
		return naming{}, err
	}
	signer, err := imageurl.NewSigner(parsed...)
	return naming{run, signer, profile.BuiltIn()}, err
}

func (n naming) post(i int) string        { return n.run + "posts/" + strconv.Itoa(i) + ".jpg" }
func (n naming) avatar(author int) string { return n.run + "avatars/" + strconv.Itoa(author) + ".jpg" }

// path returns the signed path for a request, with the profile's Spec for the device, as a gateway
// mints it.
func (n naming) path(day *socialday.Day, ask socialday.Ask) (string, error) {
	name, list := n.post(ask.Post), "feed"
	if ask.Avatar {
		name, list = n.avatar(day.Posts[ask.Post].Author), "avatar"
	}
	p, ok := n.set.Get(list)
	if !ok {
		return "", fmt.Errorf("no profile %s", list)
	}
	device := socialday.Devices[ask.Device]
	for _, format := range p.Formats() {
		if format.String() != device.Format {
			continue
		}
		spec, ok := p.At(device.Scale, format)
		if !ok {
			break
		}
		return n.sign(name, spec)
	}
	return "", fmt.Errorf("profile %s has no format %s", list, device.Format)
}

// sign returns the signed path of a variant.
func (n naming) sign(name string, spec resize.Spec) (string, error) {
	version, err := imageurl.ParseVersion(versionText)
	if err != nil {
		return "", err
	}
	ref, err := imageurl.NewRef(sourceName, name, version, spec)
	if err != nil {
		return "", err
	}
	return n.signer.Path(ref), nil
}
