package main

import (
	"fmt"
	"html"
	"path"
	"strings"
	"time"
)

const (
	barsLeft, barsWidth   = 120, 640
	barHeight, barGap     = 22, 16
	lineHeight, chartHead = 11, 56
)

// parts are the components of the time to the first screen, in the order of their colours.
var parts = []string{"opening connections", "feed query", "images of the first screen", "rest of the page"}

// picture draws the loads as bars on one scale, and below them the requests of the running app.
func (r report) picture() []byte {
	var b strings.Builder
	longest := time.Duration(1)
	var waterfall *row
	for i, one := range r.rows {
		longest = max(longest, one.whole)
		if one.name == "running" {
			waterfall = &r.rows[i]
		}
	}
	barsEnd := chartHead + len(r.rows)*(barHeight+barGap)
	height := barsEnd + 10
	if waterfall != nil {
		height += 62 + lineHeight*(len(waterfall.view.Pictures)+1)
	}
	width := barsLeft + barsWidth + 140
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12" role="img">`,
		width, height, width, height)
	b.WriteString(
		"\n<title>How long a page of the feed takes on a phone</title>\n<style>text{fill:#333}.grid{stroke:#8884}.axis{stroke:#888}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n",
	)
	x := barsLeft
	for i, part := range parts {
		fmt.Fprintf(&b,
			`<rect x="%d" y="10" width="12" height="12" rx="3" fill="%s"/><text x="%d" y="20">%s</text>`+"\n",
			x, colours[i], x+18, part)
		x += 34 + 7*len(part)
	}
	fmt.Fprintf(&b,
		`<text x="%d" y="42">page of %d posts over %s and %g Mbit/s; the line marks bytes over bandwidth</text>`+"\n",
		barsLeft, r.rows[0].view.Posts, r.cmd.RTT, r.cmd.Bandwidth)
	for i, one := range r.rows {
		bar(&b, chartHead+i*(barHeight+barGap), one, float64(barsWidth)/longest.Seconds())
	}
	if waterfall != nil {
		requests(&b, barsEnd+20, waterfall)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// bar draws one load at y; scale is in pixels per second.
func bar(b *strings.Builder, y int, one row, scale float64) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n",
		barsLeft-8, y+15, html.EscapeString(one.name))
	x := float64(barsLeft)
	for i, d := range []time.Duration{one.connections, one.query, one.images, one.whole - one.screen} {
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
			x, y, max(d.Seconds(), 0)*scale, barHeight, colours[i])
		x += max(d.Seconds(), 0) * scale
	}
	floor := barsLeft + one.floor.Seconds()*scale
	fmt.Fprintf(b, `<line class="axis" x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke-width="2"/>`+"\n",
		floor, y-3, floor, y+barHeight+3)
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%s → %s ms</text>`+"\n", x+8, y+15, millis(one.screen), millis(one.whole))
}

// requests draws each request of a view as a line, below its heading at y: light while it waited
// for one of the six download slots.
func requests(b *strings.Builder, y int, one *row) {
	v := one.view
	scale := float64(barsWidth) / max(one.whole.Seconds(), 0.001)
	at := func(t time.Time) float64 { return barsLeft + t.Sub(v.Asked).Seconds()*scale }
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="600">requests of “%s”</text>`+"\n",
		barsLeft, y, html.EscapeString(one.name))
	top, bottom := y+8, y+8+lineHeight*(len(v.Pictures)+1)
	step := stepOf(one.whole)
	for d := time.Duration(0); d <= one.whole; d += step {
		x := barsLeft + d.Seconds()*scale
		fmt.Fprintf(b,
			`<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, top, x, bottom, x, bottom+14, millis(d))
	}
	fmt.Fprintf(b,
		`<rect x="%.1f" y="%d" width="%.1f" height="8" fill="%s"><title>feed query, %s ms</title></rect>`+"\n",
		at(v.Asked), top+1, at(v.Answered)-at(v.Asked), colours[1], millis(v.Answered.Sub(v.Asked)))
	for i, pic := range v.Pictures {
		colour := colours[2]
		if i >= v.OnScreen {
			colour = colours[3]
		}
		line := top + 1 + (i+1)*lineHeight
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="8" fill="%s" opacity=".25"/>`,
			at(pic.Asked), line, at(pic.Began)-at(pic.Asked), colour)
		fmt.Fprintf(
			b,
			`<rect x="%.1f" y="%d" width="%.1f" height="8" fill="%s"><title>%s, %d KB, %s ms</title></rect>`+"\n",
			at(pic.Began),
			line,
			max(at(pic.Ended)-at(pic.Began), 1),
			colour,
			html.EscapeString(path.Base(pic.URL)),
			pic.Bytes/1000,
			millis(pic.Ended.Sub(pic.Began)),
		)
	}
}

// stepOf returns a round step that gives at most ten marks.
func stepOf(whole time.Duration) time.Duration {
	for step := 10 * time.Millisecond; ; step *= 10 {
		for _, longer := range []time.Duration{step, 2 * step, 5 * step} {
			if whole/longer < 10 {
				return longer
			}
		}
	}
}
