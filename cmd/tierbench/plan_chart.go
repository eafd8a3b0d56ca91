package main

import (
	"fmt"
	"strings"
)

// planLine has the results of several budgets in one network.
type planLine struct {
	people int
	points []planned
}

// planChart draws the share of first views that are hits over the share of wasted CPU time.
func planChart(lines []planLine, budgets []float64) []byte {
	const width, height, left, top = 520, 300, 56, 50
	var b strings.Builder
	low, high, most := 100.0, 100.0, 5.0
	for _, line := range lines {
		for _, p := range line.points {
			low, most = min(low, p.first.percent()), max(most, p.waste())
		}
	}
	low, most = float64(int(low/5)*5), float64(int(most/5)*5+5)
	at := func(p planned) (x, y float64) {
		return left + p.waste()/most*width, top + (high-p.first.percent())/(high-low)*height
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" `+
		`font-family="system-ui, sans-serif" font-size="12" role="img">`, width+left+70, height+top+56)
	b.WriteString("\n<title>First views that are hits over wasted CPU time, for several budgets</title>\n<style>text{fill:#333}" +
		".grid{stroke:#8884}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n")
	for percent := low; percent <= high; percent += 5 {
		y := top + (high-percent)/(high-low)*height
		fmt.Fprintf(&b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n",
			left, y, left+width, y, left-6, y+4, percent)
	}
	for percent := 0.0; percent <= most; percent += 5 {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", left+percent/most*width,
			top+height+18, percent)
	}
	for i, line := range lines {
		colour := colours[i%len(colours)]
		var points []string
		for k, p := range line.points {
			x, y := at(p)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>budget %.0f %%</title></circle>`+"\n", x, y, colour, 100*budgets[k])
			if i == 0 {
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s">%.0f %%</text>`+"\n", x+6, y+14, colour,
					100*budgets[k])
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		fmt.Fprintf(&b, `<rect x="%d" y="14" width="12" height="12" rx="3" fill="%s"/><text x="%d" y="24">%d people</text>`+"\n",
			left+i*130, colour, left+i*130+18, line.people)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">wasted, %% of the CPU time of warming (points: budgets)</text>`+"\n",
		left+width/2, top+height+42)
	fmt.Fprintf(&b, `<text x="14" y="%d" transform="rotate(-90 14 %[1]d)" text-anchor="middle">first views that are hits</text>`+"\n</svg>\n", top+height/2)
	return []byte(b.String())
}
