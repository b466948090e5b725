package lineformat

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
)

// Multiline says how lines are grouped: where a record begins, or where it ends. It is safe for concurrent use.
type Multiline struct {
	start bool
	omit  bool
	re    *regexp.Regexp
}

// NewMultiline compiles a pattern that the beginning of each record matches (start), or the end of each. It is matched against one line at
// a time, anywhere in it; ^ and $ are the ends of the line. With omit, what it matches is not part of the record. An error says what
// is wrong with the pattern.
func NewMultiline(pattern string, start, omit bool) (*Multiline, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if asksForLineFeed(tree) {
		return nil, errors.New("it asks for a line feed, but is matched against one line at a time")
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return &Multiline{start: start, omit: omit, re: re}, nil
}

func asksForLineFeed(tree *syntax.Regexp) bool {
	return tree.Op == syntax.OpLiteral && slices.Contains(tree.Rune, '\n') || slices.ContainsFunc(tree.Sub, asksForLineFeed)
}

// bound is a place in a line where a record ends and the next one begins; what lies between is left out.
type bound struct{ end, next int }

// bounds appends the bounds in a line. In a part of a line that is not its beginning no record begins.
func (m *Multiline) bounds(all []bound, line []byte, continued bool) []bound {
	if m.start && continued || !m.re.Match(line) { // Match alone allocates nothing, and most lines have none
		return all
	}
	for _, match := range m.re.FindAllIndex(line, -1) {
		from, to := match[0], match[1]
		switch {
		case from == to && (m.start && from > 0 || !m.start && to < len(line)):
			// An empty match inside of the line would cut between any two characters.
		case m.start && m.omit:
			all = append(all, bound{from, to})
		case m.start:
			all = append(all, bound{from, from})
		case m.omit:
			all = append(all, bound{from, to})
		default:
			all = append(all, bound{to, to})
		}
	}
	return all
}
