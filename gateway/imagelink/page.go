package imagelink

// pathsAtOnce is how many paths are handed to Config.HandedOut together: what the tier accepts in
// one event.
const pathsAtOnce = 200

// Page collects the paths of the URLs in one answer, in their order. It is for one goroutine.
//
//	page := linker.Page(imagelink.ClientOf(request.Header))
//	post.ThumbnailURL = page.URL("feed", post.ImageURL, imagelink.Post{Created: post.CreatedAt})
//	page.Done()
type Page struct {
	linker *Linker
	client Client
	paths  []string
}

// Page returns an empty Page for a client.
func (l *Linker) Page(client Client) *Page { return &Page{linker: l, client: client} }

// URL is like [Linker.URL], and adds the URL to the page.
func (p *Page) URL(profileName, plain string, post Post) string {
	minted, err := p.linker.Mint(p.client, profileName, plain, post)
	if err != nil {
		return plain
	}
	p.Add(minted)
	return minted.URL
}

// Add adds a URL to the page, unless another service has signed it.
func (p *Page) Add(m Minted) {
	if p.linker.cfg.HandedOut == nil || m.Image.IsZero() {
		return
	}
	path := m.URL[len(p.linker.cfg.Base):]
	if n := len(p.paths); n > 0 && p.paths[n-1] == path {
		return // thumbnailUrl often follows its imageUrl
	}
	if p.paths = append(p.paths, path); len(p.paths) == pathsAtOnce {
		p.Done()
	}
}

// Done hands the paths that were added since the last call to Config.HandedOut. Call it once the answer
// is written, or before.
func (p *Page) Done() {
	if len(p.paths) > 0 {
		p.linker.cfg.HandedOut(p.paths)
		p.paths = nil
	}
}
