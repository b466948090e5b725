package containerlogreceiver

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// pattern is a text to compare with: exact, a glob with * and ?, or a regular expression between slashes.
type pattern struct {
	exact string
	re    *regexp.Regexp // nil: exact
}

func parsePattern(text string) (pattern, error) {
	if text == "" {
		return pattern{}, errors.New("must not be empty")
	}
	if len(text) > 1 && text[0] == '/' && text[len(text)-1] == '/' {
		re, err := regexp.Compile(text[1 : len(text)-1])
		if err != nil {
			return pattern{}, fmt.Errorf("%q: %w", text, err)
		}
		return pattern{re: re}, nil
	}
	if !strings.ContainsAny(text, "*?") {
		return pattern{exact: text}, nil
	}
	glob := regexp.QuoteMeta(text)
	glob = strings.ReplaceAll(strings.ReplaceAll(glob, `\*`, `.*`), `\?`, `.`)
	return pattern{re: regexp.MustCompile(`(?s)^` + glob + `$`)}, nil
}

func (p pattern) matches(text string) bool {
	if p.re == nil {
		return p.exact == text
	}
	return p.re.MatchString(text)
}

// patterns match when one of them does.
type patterns []pattern

func parsePatterns(key string, texts []string) (patterns, error) {
	var all patterns
	var errs []error
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("`%s`: %w", key, err))
		}
		all = append(all, p)
	}
	return all, errors.Join(errs...)
}

func (p patterns) match(texts ...string) bool {
	for _, one := range p {
		for _, text := range texts {
			if one.matches(text) {
				return true
			}
		}
	}
	return false
}

// labelPattern is a label that has to be there, with a value that matches.
type labelPattern struct {
	key   pattern
	value *pattern // nil: any
}

func parseLabelPattern(text string) (labelPattern, error) {
	key, value, valued := text, "", false
	if !strings.HasPrefix(text, "/") {
		key, value, valued = strings.Cut(text, "=")
	}
	k, err := parsePattern(key)
	if err != nil {
		return labelPattern{}, err
	}
	if !valued {
		return labelPattern{key: k}, nil
	}
	v := pattern{}
	if value != "" {
		if v, err = parsePattern(value); err != nil {
			return labelPattern{}, err
		}
	}
	return labelPattern{key: k, value: &v}, nil
}

func (l labelPattern) matches(labels map[string]string) bool {
	if l.key.re == nil {
		value, ok := labels[l.key.exact]
		return ok && (l.value == nil || l.value.matches(value))
	}
	for key, value := range labels {
		if l.key.matches(key) && (l.value == nil || l.value.matches(value)) {
			return true
		}
	}
	return false
}
