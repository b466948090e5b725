package filetail

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/cespare/xxhash/v2"
)

// pattern is an include pattern in the pieces between its separators, so that one listing of a directory serves all patterns, and a
// directory is listed only where a pattern can match in it.
type pattern struct {
	text     string
	root     string // of an absolute path; empty for a relative one
	segments []string
}

// state is how far a pattern has come on the way to a directory: the segment that its entries are compared with.
type state struct {
	pattern *pattern
	next    int
}

func (s state) segment() string { return s.pattern.segments[s.next] }
func (s state) last() bool      { return s.next == len(s.pattern.segments)-1 }

// literal is the one name that the segment matches, if it is one.
func (s state) literal() (string, bool) {
	segment := s.segment()
	return segment, !strings.ContainsAny(segment, `*?[{\`)
}

// newPatterns splits an include pattern. Alternatives that span separators become patterns of their own.
func newPatterns(text string) []*pattern {
	var all []*pattern
	for _, path := range alternatives(filepath.ToSlash(text)) {
		p := &pattern{text: text}
		path = path[len(filepath.VolumeName(path)):]
		if strings.HasPrefix(path, "/") {
			p.root = filepath.VolumeName(text) + string(filepath.Separator)
		}
		for segment := range strings.SplitSeq(path, "/") {
			switch {
			case segment == "" || segment == ".":
			case segment == "**" && len(p.segments) > 0 && p.segments[len(p.segments)-1] == "**":
			default:
				p.segments = append(p.segments, segment)
			}
		}
		if n := len(p.segments); n > 0 && p.segments[n-1] == "**" {
			p.segments = append(p.segments, "*")
		}
		if len(p.segments) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// alternatives expands the braces that contain a separator; the others stay, for they can be matched within a segment.
func alternatives(text string) []string {
	open, end := spanning(text)
	if open < 0 {
		return []string{text}
	}
	var all []string
	for _, choice := range choices(text[open+1 : end]) {
		all = append(all, alternatives(text[:open]+choice+text[end+1:])...)
	}
	return all
}

// spanning returns the place of the first outermost pair of braces with a separator in it, -1 for none.
func spanning(text string) (open, end int) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '{':
			if depth++; depth == 1 {
				open = i
			}
		case '}':
			if depth--; depth == 0 && strings.Contains(text[open:i], "/") {
				return open, i
			}
			depth = max(depth, 0)
		}
	}
	return -1, -1
}

// choices splits what is between two braces at its outermost commas.
func choices(text string) (all []string) {
	depth, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			depth--
		case ',':
			if depth == 0 {
				all = append(all, text[start:i])
				start = i + 1
			}
		}
	}
	return append(all, text[start:])
}

// match says what an entry of a directory is to the patterns on the way there: whether it matches as a file, by which patterns, and the
// states with which it is entered if it is a directory.
func match(states []state, name string) (files []*pattern, inner []state) {
	add := func(s state) {
		if !slices.Contains(inner, s) {
			inner = append(inner, s)
		}
	}
	for _, s := range states {
		if s.segment() == "**" {
			add(s)
			s.next++ // no directory at all is one way to match
		}
		if ok, _ := doublestar.Match(s.segment(), name); !ok { // patterns were validated
			continue
		}
		if s.last() {
			files = append(files, s.pattern)
		} else {
			add(state{s.pattern, s.next + 1})
		}
	}
	return files, inner
}

const markerPrefix = "include/"

// marker is the key under which is stored that a pattern was looked for before, with the same exclusions.
func (p *pattern) marker(exclude []string) string {
	h := xxhash.New()
	for _, text := range append([]string{p.text}, exclude...) {
		_, _ = h.WriteString(text + "\n") // never fails
	}
	const digits = "0123456789abcdef"
	key := []byte(markerPrefix)
	for sum := h.Sum64(); sum > 0; sum >>= 4 {
		key = append(key, digits[sum&15])
	}
	return string(key)
}
