package graph

import (
	"context"
	"strconv"
	"unicode/utf8"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// writer appends JSON.
type writer struct {
	b    []byte
	room *room
}

// full reports that nothing is to be written any more: there is no room.
func (w *writer) full() bool { return !w.room.allows(len(w.b), cap(w.b)) }

func (w *writer) raw(text string) { w.b = append(w.b, text...) }

func (w *writer) int(n int64) { w.b = strconv.AppendInt(w.b, n, 10) }

func (w *writer) bool(is bool) { w.b = strconv.AppendBool(w.b, is) }

// orNull writes a string, or null if it is empty.
func (w *writer) orNull(text string) {
	if text == "" {
		w.raw("null")
		return
	}
	w.string(text)
}

// string writes a string. Invalid UTF-8 becomes U+FFFD.
func (w *writer) string(text string) {
	const hex = "0123456789abcdef"
	b := append(w.b, '"')
	from := 0 // text[from:i] needs no escape
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, text[from:i]...), `\ufffd`...)
				from = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' || c == 0x7f {
			b = append(b, text[from:i]...)
			if from = i + 1; c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
		}
		i++
	}
	w.b = append(append(b, text[from:]...), '"')
}

// object writes an object; field writes the value of one of its fields. It returns early if the
// writer is full.
func (w *writer) object(typeName string, nodes []node, field func(n *node)) {
	w.raw("{")
	for i := range nodes {
		if w.full() {
			return
		}
		if i > 0 {
			w.raw(",")
		}
		n := &nodes[i]
		w.raw(n.key)
		if n.name == "__typename" {
			w.string(typeName)
		} else {
			field(n)
		}
	}
	w.raw("}")
}

// write appends the data of the answer to dst. The result is incomplete if there was no room.
func (x *run) write(ctx context.Context, dst []byte, of *room) []byte {
	w := writer{dst, of}
	typeName := "Query"
	if x.plan.operation.Operation == "mutation" {
		typeName = "Mutation"
	}
	w.raw("{")
	for i := range x.plan.root {
		if i > 0 {
			w.raw(",")
		}
		n, r := &x.plan.root[i], &x.results[i]
		w.raw(n.key)
		switch {
		case n.name == "__typename":
			w.string(typeName)
		case n.name == "__schema", n.name == "__type":
			x.introspect(&w, n)
		case r.page != nil:
			pw := pageWriter{writer: &w, run: x, client: r.client, shown: x.cfg.Linker.Page(r.client)}
			pw.page(ctx, n.sub, r.page)
		case r.liked:
			w.object("BatchResult", n.sub, func(*node) { w.raw("true") }) // success
		default:
			w.raw("null")
		}
	}
	w.raw("}")
	w.full() // counts the last field
	return w.b
}

// pageWriter writes one page, and collects the URLs in it.
type pageWriter struct {
	*writer
	*run
	client imagelink.Client
	images []imagelink.Minted // of posts; nil unless facts are requested
	facts  []Facts            // of posts; nil unless facts are requested
	shown  *imagelink.Page
}

func (w *pageWriter) page(ctx context.Context, nodes []node, p *feed.Page) {
	if posts := find(nodes, "posts"); posts != nil && w.cfg.Facts != nil && wantsFacts(nodes) {
		w.fetchFacts(ctx, p)
	}
	w.object("Feed", nodes, func(n *node) {
		switch n.name {
		case "posts":
			w.raw("[")
			for i := range p.Items {
				if w.full() {
					return
				}
				if i > 0 {
					w.raw(",")
				}
				w.post(n.sub, &p.Items[i], i)
			}
			w.raw("]")
		case "cursor":
			w.orNull(p.NextCursor)
		case "hasMore":
			w.bool(p.HasMore)
		}
	})
	if !w.full() {
		w.shown.Done()
	}
}

// wantsFacts reports whether the query has a field that needs metadata from the tier.
func wantsFacts(nodes []node) bool {
	for _, n := range nodes {
		for _, field := range n.sub {
			switch field.name {
			case "placeholder", "width", "height", "color":
				return true
			}
		}
	}
	return false
}

// fetchFacts fetches the metadata of all posts at once.
func (w *pageWriter) fetchFacts(ctx context.Context, p *feed.Page) {
	w.images, w.facts = make([]imagelink.Minted, len(p.Items)), make([]Facts, len(p.Items))
	images, indexes := make([]profile.Image, 0, len(p.Items)), make([]int, 0, len(p.Items))
	for i, item := range p.Items {
		plain := item.Post.ImageURL
		if plain == "" {
			plain = item.Post.ThumbnailURL
		}
		w.images[i] = w.mint(w.cfg.Fields.ImageURL, plain, linkTo(plain, item.Post))
		if image := w.images[i].Image; !image.IsZero() {
			images, indexes = append(images, image), append(indexes, i)
		}
	}
	if len(images) == 0 {
		return
	}
	for i, facts := range w.cfg.Facts(ctx, images) {
		w.facts[indexes[i]] = facts
	}
}

func (w *pageWriter) post(nodes []node, item *feed.Item, i int) {
	p := item.Post
	var image imagelink.Minted // of ImageURL, minted on first use
	minted := func() imagelink.Minted {
		switch {
		case image.URL != "" || p.ImageURL == "":
		case w.images != nil:
			image = w.images[i]
		default:
			image = w.mint(w.cfg.Fields.ImageURL, p.ImageURL, linkTo(p.ImageURL, p))
		}
		return image
	}
	var facts Facts
	if w.facts != nil {
		facts = w.facts[i]
	}
	w.object("Post", nodes, func(n *node) {
		switch n.name {
		case "id":
			w.string(p.ID)
		case "userId":
			w.orNull(p.UserID)
		case "caption":
			w.orNull(p.Caption)
		case "imageUrl":
			w.url(minted())
		case "thumbnailUrl":
			small := p.ThumbnailURL
			if small == "" {
				small = p.ImageURL
			}
			if small == p.ImageURL && w.cfg.Fields.ThumbnailURL == w.cfg.Fields.ImageURL {
				w.url(minted())
			} else {
				w.url(w.mint(w.cfg.Fields.ThumbnailURL, small, linkTo(small, p)))
			}
		case "likeCount":
			w.int(int64(clamped(p.Likes)))
		case "commentCount":
			w.int(int64(clamped(p.Comments)))
		case "viewCount":
			w.raw("0") // no service has it
		case "isLiked":
			w.raw("null") // no service has it
		case "createdAt":
			if p.CreatedAt.IsZero() {
				w.raw("null")
			} else {
				w.int(p.CreatedAt.Unix())
			}
		case "placeholder":
			w.orNull(facts.Placeholder)
		case "color":
			w.orNull(facts.Color)
		case "width":
			w.side(facts.Width)
		case "height":
			w.side(facts.Height)
		case "author":
			if item.Author == nil {
				w.raw("null")
			} else {
				w.author(n.sub, item)
			}
		}
	})
}

func (w *pageWriter) side(pixels int) {
	if pixels <= 0 {
		w.raw("null")
		return
	}
	w.int(int64(clamped(int64(pixels))))
}

func (w *pageWriter) author(nodes []node, item *feed.Item) {
	a := item.Author
	w.object("User", nodes, func(n *node) {
		switch n.name {
		case "id":
			w.string(a.ID)
		case "username":
			w.orNull(a.Username)
		case "avatarUrl":
			// Users have no date. With that of the post, no URL of an old post changes at a key rotation.
			w.url(w.mint(w.cfg.Fields.AvatarURL, a.AvatarURL, linkOf(item.Post)))
		}
	})
}

// linkOf returns the fields of a post that its URLs depend on.
func linkOf(p *feed.Post) imagelink.Post {
	return imagelink.Post{Created: p.CreatedAt, Public: p.Public}
}

// linkTo returns what the URL of an image of a post depends on: a crop is that of the image itself.
func linkTo(plain string, p *feed.Post) imagelink.Post {
	link := linkOf(p)
	if plain == p.ImageURL {
		if err := link.Crop.UnmarshalText([]byte(p.Crop)); err != nil {
			return linkOf(p) // the whole image is better than none
		}
	}
	return link
}

// mint returns the signed URL of plain, or plain if it is not an image of the tier.
func (w *pageWriter) mint(profileName, plain string, post imagelink.Post) imagelink.Minted {
	if plain == "" || profileName == "" {
		return imagelink.Minted{URL: plain}
	}
	minted, err := w.cfg.Linker.Mint(w.client, profileName, plain, post)
	if err != nil {
		return imagelink.Minted{URL: plain}
	}
	return minted
}

// url writes a URL, and adds it to the URLs of the page.
func (w *pageWriter) url(minted imagelink.Minted) {
	w.orNull(minted.URL)
	w.shown.Add(minted)
}
