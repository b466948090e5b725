package containerlogreceiver

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"
)

// MultilineConfig puts lines of one stream together to records, as file_log does.
type MultilineConfig struct {
	// LineStartPattern matches the first line of a record, LineEndPattern the last one. At most one can be set.
	LineStartPattern string `mapstructure:"line_start_pattern"`
	LineEndPattern   string `mapstructure:"line_end_pattern"`
}

type multiline struct{ start, end *regexp.Regexp }

func (c *MultilineConfig) build(key string) (m multiline, err error) {
	if c.LineStartPattern != "" && c.LineEndPattern != "" {
		return m, fmt.Errorf("`%s`: only one of line_start_pattern and line_end_pattern can be set", key)
	}
	var errs [2]error
	m.start, errs[0] = compile(key+"::line_start_pattern", c.LineStartPattern)
	m.end, errs[1] = compile(key+"::line_end_pattern", c.LineEndPattern)
	return m, errors.Join(errs[:]...)
}

// buildBounded is build for patterns of labels, which whoever makes a container can set.
func (c *MultilineConfig) buildBounded() (m multiline, err error) {
	if built, ok := ofLabels.get(*c); ok {
		return built, nil
	}
	for _, text := range []string{c.LineStartPattern, c.LineEndPattern} {
		if err := checkCost(text); err != nil {
			return multiline{}, err
		}
	}
	if m, err = c.build("multiline"); err == nil {
		ofLabels.put(*c, m)
	}
	return m, err
}

// ofLabels has what was built for labels, which are looked at with every list of containers.
var ofLabels builtPatterns

// builtPatterns is a bounded cache. It is safe for concurrent use.
type builtPatterns struct {
	mu    sync.Mutex
	known map[MultilineConfig]multiline
}

func (b *builtPatterns) get(c MultilineConfig) (multiline, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.known[c]
	return m, ok
}

func (b *builtPatterns) put(c MultilineConfig, m multiline) {
	const most = 100
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil || len(b.known) >= most {
		b.known = make(map[MultilineConfig]multiline)
	}
	b.known[c] = m
}

// maxCost bounds the program of a pattern of a label, in instructions.
const maxCost = 2000

// checkCost says whether the program of a regular expression would be too large, without making it. A text that is no regular expression
// is not its concern.
func checkCost(text string) error {
	re, err := syntax.Parse(text, syntax.Perl)
	if err == nil && cost(re) > maxCost {
		return fmt.Errorf("the regular expression would take more than %d instructions", maxCost)
	}
	return nil
}

// cost is about the number of instructions of a program. It cannot overflow: the parser bounds how often repeats repeat each other.
func cost(re *syntax.Regexp) int {
	sum := max(len(re.Rune), 1)
	if re.Op != syntax.OpLiteral {
		sum = 1
	}
	for _, sub := range re.Sub {
		sum += cost(sub)
	}
	if re.Op == syntax.OpRepeat {
		sum *= max(re.Min, re.Max, 1)
	}
	return sum
}

func compile(key, text string) (*regexp.Regexp, error) {
	if text == "" {
		return nil, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("`%s`: %w", key, err)
	}
	return re, nil
}
