package filetail

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// PathPattern takes attributes out of the path of a file. It is a path with
//
//	{name}           a part of a name: at least one character, as few as there can be, that is no slash
//	{name:regexp}    what the regular expression matches
//	*                any characters but slashes
//	**               any characters; before a slash also none, and no slash then
//
// where name is that of the attribute. It matches the whole path. It is safe for concurrent use.
type PathPattern struct {
	re    *regexp.Regexp
	names []string // of the groups, empty for those of the user's own expressions
}

// NewPathPattern compiles a pattern.
func NewPathPattern(text string) (*PathPattern, error) {
	p := &PathPattern{}
	expression := strings.Builder{}
	for rest := filepath.ToSlash(text); rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**/"):
			expression.WriteString("(?:.*/)?")
			rest = rest[3:]
		case strings.HasPrefix(rest, "**"):
			expression.WriteString(".*")
			rest = rest[2:]
		case rest[0] == '*':
			expression.WriteString("[^/]*")
			rest = rest[1:]
		case rest[0] == '{':
			inner, after, err := cutBraces(rest)
			if err != nil {
				return nil, err
			}
			name, value, custom := strings.Cut(inner, ":")
			if !custom {
				value = "[^/]+?"
			}
			if name == "" {
				return nil, fmt.Errorf("%q has no name of an attribute", "{"+inner+"}")
			}
			re, err := regexp.Compile(value)
			if err != nil {
				return nil, err
			}
			p.names = append(append(p.names, name), make([]string, re.NumSubexp())...)
			expression.WriteString("(" + value + ")")
			rest = after
		default:
			n := strings.IndexAny(rest, "*{")
			if n < 0 {
				n = len(rest)
			}
			expression.WriteString(regexp.QuoteMeta(rest[:n]))
			rest = rest[n:]
		}
	}
	if len(p.names) == 0 {
		return nil, fmt.Errorf("there is no {name of an attribute} in it")
	}
	re, err := regexp.Compile("^(?:" + expression.String() + ")$")
	p.re = re
	return p, err
}

// cutBraces splits a text that begins with a brace at the one that closes it. Braces within, as regular expressions have them, are pairs.
func cutBraces(text string) (inner, after string, err error) {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return text[1:i], text[i+1:], nil
			}
		}
	}
	return "", "", fmt.Errorf("%q is not closed", text)
}

// match calls put with each attribute, and reports whether the pattern matches the path.
func (p *PathPattern) match(path string, put func(name, value string)) bool {
	values := p.re.FindStringSubmatch(filepath.ToSlash(path))
	if values == nil {
		return false
	}
	for i, name := range p.names {
		if name != "" {
			put(name, values[i+1])
		}
	}
	return true
}
