//go:build linux

package e2e

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

const (
	plotWidth, plotHeight = 960, 150 // of one panel
	plotLeft, plotRight   = 64, 220
	plotGap               = 34
)

// panel is one chart of the plot: some measures on one scale.
type panel struct {
	title string
	lines []plotLine
}

type plotLine struct {
	name, color string
	of          func(observation) float64
	dashed      bool
}

func (s *soak) panels() []panel {
	const first, second, third = "#1f5fa8", "#c2571a", "#3d8b46"
	limit := float64(total(s.base.goroutines) + perContainer*s.size.containers)
	return []panel{
		{"goroutines", []plotLine{
			{"all", first, measures[0].of, false},
			{"tasks of the receivers", second, measures[1].of, false},
			{"allowed when settled", "#999999", func(observation) float64 { return limit }, true},
		}},
		{"connections to the engine", []plotLine{
			{"held by the collector", first, measures[4].of, false},
			{"passed on", second, measures[5].of, true},
			{"held by the engine", third, measures[6].of, true},
		}},
		{"file descriptors", []plotLine{
			{"all", first, measures[2].of, false},
			{"log files", second, measures[3].of, false},
		}},
		{"MiB", []plotLine{
			{"heap after GC", first, measures[9].of, false},
			{"resident", second, measures[10].of, false},
		}},
	}
}

// plot draws the series as an SVG, a panel over the other, with the time in minutes. Shaded is the time of churn.
func (s *soak) plot() string {
	panels := s.panels()
	last := s.series[len(s.series)-1].at
	inner := float64(plotWidth - plotLeft - plotRight)
	x := func(at time.Duration) float64 { return plotLeft + inner*float64(at)/float64(last) }
	var b strings.Builder
	height := len(panels)*(plotHeight+plotGap) + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i, p := range panels {
		top := float64(plotGap + i*(plotHeight+plotGap))
		highest := 0.0
		for _, l := range p.lines {
			for _, v := range s.series {
				highest = max(highest, l.of(v))
			}
		}
		step := niceStep(highest / 4)
		highest = step * math.Ceil(highest/step*1.02)
		y := func(value float64) float64 { return top + plotHeight*(1-value/highest) }
		for _, r := range s.rounds {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="#f2ead8"/>`+"\n", x(r.began), top, x(r.churned)-x(r.began), plotHeight)
		}
		for value := 0.0; value <= highest; value += step {
			fmt.Fprintf(&b, `<path d="M%d %.1fH%.1f" stroke="#dddddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444444">%g</text>`+"\n",
				plotLeft, y(value), plotLeft+inner, plotLeft-6, y(value)+4, value)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" font-weight="bold">%s</text>`+"\n", plotLeft, top-8, p.title)
		for j, l := range p.lines {
			var points []string
			for _, v := range s.series {
				points = append(points, fmt.Sprintf("%.1f,%.1f", x(v.at), y(l.of(v))))
			}
			dash := ""
			if l.dashed {
				dash = ` stroke-dasharray="5 4"`
			}
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"%s/>`+"\n", strings.Join(points, " "), l.color, dash)
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n", plotLeft+inner+12, top+16+float64(j)*18, l.color, l.name)
		}
	}
	bottom := float64(len(panels)*(plotHeight+plotGap)) + 16
	step := niceStep(last.Minutes() / 10)
	for minute := 0.0; minute <= last.Minutes(); minute += step {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" fill="#444444">%g</text>`+"\n",
			x(time.Duration(minute*float64(time.Minute))), bottom, minute)
	}
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="#444444">minutes; shaded: churn</text>`+"\n</svg>\n", plotLeft+inner+12, bottom)
	return b.String()
}

// niceStep is the next 1, 2 or 5 times a power of ten.
func niceStep(least float64) float64 {
	if least <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range []float64{1, 2, 5} {
		if n*unit >= least {
			return n * unit
		}
	}
	return 10 * unit
}

func TestPlotIsWellFormed(t *testing.T) {
	s := &soak{observer: &observer{}, rounds: []soakRound{{began: time.Minute, churned: 2 * time.Minute}}}
	for i := range 10 {
		s.series = append(s.series, observation{at: time.Duration(i) * time.Minute, heap: i << 20, ours: i})
	}
	decoder := xml.NewDecoder(strings.NewReader(s.plot()))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
