package vips

import (
	"fmt"
	"strings"
)

// chart draws a group of bars for each job: its cost in each implementation, and the floor.
func (costs jobCosts) chart() []byte {
	const left, top, bar, gap, scale = 150, 66, 15, 20, 3.4 // scale: pixels a millisecond
	bars := []struct {
		name, colour string
		of           func(jobCost) float64
	}{
		{"imagetier, from the mezzanine", "#7cc4a7", func(c jobCost) float64 { return c[keptOurs] }},
		{"imagetier, from the original", "#1b7f5c", func(c jobCost) float64 { return c[ours] }},
		{"lean libvips", "#3a6fd8", func(c jobCost) float64 { return c[byLibvips] }},
		{"bimg", "#c8791b", func(c jobCost) float64 { return c[byBimg] }},
	}
	longest := 0.0
	for _, c := range costs {
		for _, one := range bars {
			longest = max(longest, one.of(c))
		}
	}
	group := len(bars)*bar + gap
	width, height := left+int(longest*scale)+60, top+len(costs)*group
	var b strings.Builder
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="12" role="img">`,
		width, height, width, height)
	b.WriteString(
		"\n<title>CPU milliseconds for one image of a 12-megapixel photo</title>\n<style>text{fill:#333}.floor{stroke:#c0392b;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n",
	)
	x := 12
	for _, one := range bars {
		fmt.Fprintf(&b,
			`<rect x="%d" y="12" width="12" height="12" rx="3" fill="%s"/><text x="%d" y="22">%s</text>`+"\n",
			x, one.colour, x+18, one.name)
		x += 36 + 6*len(one.name)
	}
	fmt.Fprintf(
		&b,
		`<line class="floor" x1="14" y1="36" x2="14" y2="48"/><text x="30" y="46">floor: to decode and to encode, and nothing else. CPU ms for one image of a 12-megapixel photo</text>`+"\n",
	)
	for i, c := range costs {
		y := top + i*group
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, y+2*bar+4, decodeJobs[i])
		for k, one := range bars {
			ms := one.of(c)
			fmt.Fprintf(&b,
				`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="11">%.0f</text>`+"\n",
				left, y+k*bar, ms*scale, bar-2, one.colour, left+ms*scale+5, y+k*bar+11, ms)
		}
		for k, floor := range []float64{c.keptFloor(), c.floor()} {
			at := left + floor*scale
			fmt.Fprintf(&b, `<line class="floor" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n",
				at, y+k*bar-1, at, y+k*bar+bar-1)
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
