package main

import (
	"fmt"
	"html"
	"strings"
)

// Colours that can be distinguished on light and dark backgrounds and by colour-blind readers.
var colours = []string{"#1b7f5c", "#3a6fd8", "#c8791b", "#8a8a8a"}

const (
	panelWidth, panelHeight = 250, 190
	left, top, gap          = 46, 58, 26
)

// chart draws a panel for each trace: object hit ratio over size, a line for each cache.
func chart(results []result) []byte {
	var b strings.Builder
	width := left + len(results)*(panelWidth+gap)
	height := top + panelHeight + 64
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12" role="img">`,
		width, height, width, height)
	b.WriteString(
		"\n<title>Object hit ratio over cache size, by trace</title>\n<style>text{fill:#333}.grid{stroke:#8884}.axis{stroke:#888}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n",
	)
	x := left
	for i, who := range contenders {
		fmt.Fprintf(&b,
			`<rect x="%d" y="14" width="12" height="12" rx="3" fill="%s"/><text x="%d" y="24">%s</text>`+"\n",
			x, colours[i], x+18, html.EscapeString(who.name))
		x += 34 + 7*len(who.name)
	}
	for i, r := range results {
		panel(&b, left+i*(panelWidth+gap), r, i == 0)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">cache size, %% of the footprint</text>`+"\n</svg>\n",
		width/2, height-10)
	return []byte(b.String())
}

// panel draws one trace at x. The vertical axis spans the values, in steps of ten points.
func panel(b *strings.Builder, x int, r result, labelled bool) {
	low, high := 100.0, 0.0
	for _, row := range r.ratios {
		for _, one := range row {
			low, high = min(low, one.objects), max(high, one.objects)
		}
	}
	low, high = float64(int(low/10)*10), float64(int(high/10+1)*10)
	at := func(share, percent float64) (float64, float64) {
		return float64(x) + share/0.11*panelWidth, top + panelHeight*(high-percent)/(high-low)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="600">%s</text>`+"\n", x, top-10, html.EscapeString(r.trace))
	for percent := low; percent <= high; percent += 10 {
		_, y := at(0, percent)
		fmt.Fprintf(b,
			`<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			x, y, x+panelWidth, y, x-5, y+4, percent)
	}
	if labelled {
		fmt.Fprintf(b,
			`<text x="12" y="%d" transform="rotate(-90 12 %d)" text-anchor="middle">object hit ratio, %%</text>`+"\n",
			top+panelHeight/2, top+panelHeight/2)
	}
	for _, share := range shares {
		px, _ := at(share, low)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", px, top+panelHeight+18, 100*share)
	}
	for i, row := range r.ratios {
		var points []string
		for j, one := range row {
			px, py := at(shares[j], one.objects)
			points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, colours[i])
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n",
			strings.Join(points, " "), colours[i])
	}
}
