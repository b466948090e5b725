package main

import (
	"fmt"
	"html"
	"strings"
)

// Of the plot, in pixels.
const (
	plotWidth  = 860
	plotLeft   = 290 // where the bars begin
	plotRight  = 170 // for the figures behind them
	barHeight  = 14
	groupSpace = 12
)

// colours by peer.
var colours = map[string]string{
	fileLog: "#9aa5b1", fileLog + ", no pod": "#cbd5e1", fileLog + ", transform": "#7b8794", fileTail: "#2563eb", fileTail + ", resource": "#60a5fa",
	floorRecord: "#d97706", floorResource: "#fbbf24",
}

// plot is an SVG with a group of bars per shape: records per CPU second.
func (r *report) plot() string {
	var body strings.Builder
	y := 64
	for _, m := range r.Throughput {
		if m.Shape.name == "cores" {
			continue
		}
		y = group(&body, m, y) + groupSpace
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, y+8)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n" +
		`<text x="12" y="22" font-size="15" font-weight="bold">Records per CPU second of the collector (each shape has a scale of its own)</text>` + "\n")
	legend(&b)
	b.WriteString(body.String())
	b.WriteString("</svg>\n")
	return b.String()
}

func legend(b *strings.Builder) {
	x := 12
	for _, name := range []string{fileLog, fileLog + ", no pod", fileLog + ", transform", fileTail, fileTail + ", resource", floorRecord, floorResource} {
		fmt.Fprintf(b, `<rect x="%d" y="34" width="12" height="12" fill="%s"/><text x="%d" y="44">%s</text>`+"\n", x, colours[name], x+17, html.EscapeString(name))
		x += 34 + 6*len(name)
	}
}

// group draws the bars of a shape from y on and returns where it ends.
func group(b *strings.Builder, m measured, y int) int {
	most := 0.0
	for _, rounds := range m.Results {
		most = max(most, median(rounds, figures.perCPUSecond))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLeft-8, y+11, html.EscapeString(m.Shape.title))
	for _, name := range m.Shape.peers {
		rounds := m.Results[name]
		if len(rounds) == 0 {
			continue
		}
		value := median(rounds, figures.perCPUSecond)
		width := value / most * (plotWidth - plotLeft - plotRight)
		label, opacity := thousands(value), 1.0
		if contrib := m.Results[contribOf(name)]; name != contribOf(name) && len(contrib) > 0 {
			label += fmt.Sprintf("  (%.1f×)", ratio(rounds, contrib, figures.perCPUSecond))
		}
		if pools(name) {
			label, opacity = label+pooled, 0.6
		}
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s" fill-opacity="%g"/><text x="%.1f" y="%d" font-size="11">%s</text>`+"\n",
			plotLeft, y, max(width, 1), barHeight-2, colours[strings.TrimSuffix(name, pooled)], opacity, float64(plotLeft)+width+5, y+10, label)
		y += barHeight
	}
	return y
}
