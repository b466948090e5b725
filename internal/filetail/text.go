package filetail

import (
	"time"
	"unicode/utf8"

	"github.com/logcapture/logcapture/internal/charset"
	"github.com/logcapture/logcapture/internal/lineformat"
	"github.com/logcapture/logcapture/internal/split"
)

// Text says how bytes become records. The zero value reads UTF-8 lines as they are.
type Text struct {
	// Encoding is nil for UTF-8.
	Encoding *charset.Encoding
	// Delimiter ends a line; empty is a line feed, with or without a carriage return before it.
	Delimiter string
	// Truncate drops what of a line or record is beyond MaxLogSize, instead of making it the next record.
	Truncate bool
	Format   lineformat.Format
	// Multiline groups lines to records; nil does not.
	Multiline *lineformat.Multiline
	// FlushPeriod is how long the end of a line, and the next line of a group, is waited for; 0 is for ever.
	FlushPeriod time.Duration
	// TrimLeading and TrimTrailing take blanks, tabs, carriage returns and line feeds off a record; SkipEmpty leaves out those that are empty
	// then.
	TrimLeading, TrimTrailing, SkipEmpty bool
}

const (
	// orphanWait is how long the rest of a line that a container runtime has cut is waited for, unless FlushPeriod says.
	orphanWait = 5 * time.Second
	// leastRawLine is a line that container runtimes write, or longer.
	leastRawLine = 256 << 10
	// criHeader is what stands before the text in a line of such a file, or more.
	criHeader = 128
	// openSpan is how far behind the place of a file a line may begin that is still open, beside some of the longest records.
	openSpan = 8 << 20
)

// joins says that a record may be of more than one line.
func (t *Text) joins() bool { return t.Format != lineformat.Raw || t.Multiline != nil }

// trims says that not every record is taken as it is.
func (t *Text) trims() bool { return t.TrimLeading || t.TrimTrailing || t.SkipEmpty }

// waits says that something is given up when nothing more of it comes.
func (t *Text) waits() bool { return t.joins() || t.FlushPeriod > 0 }

// rules are those of the joiners of all files.
func (t *Text) rules(limit int) *lineformat.Rules {
	r := &lineformat.Rules{Max: limit, Truncate: t.Truncate, Multiline: t.Multiline, LineWait: t.FlushPeriod, GroupWait: t.FlushPeriod}
	if r.LineWait == 0 {
		r.LineWait = orphanWait
	}
	if t.Format == lineformat.Raw && t.Encoding != nil {
		r.Whole = t.Encoding.Whole
	}
	return r
}

// script is an encoding with what cuts it into lines.
type script struct {
	*charset.Encoding
	*split.Splitter
}

// scripts are those that the files of an engine can have: the one that is configured, and those that a byte order mark can tell.
type scripts map[*charset.Encoding]*script

// add returns the script of an encoding.
func (s scripts) add(e *charset.Encoding, text *Text, limit int) (*script, error) {
	if known := s[e]; known != nil {
		return known, nil
	}
	if text.Format != lineformat.Raw {
		limit = max(limit, leastRawLine) + criHeader
	}
	splitter, err := e.Splitter(limit, text.Delimiter)
	if err != nil {
		return nil, err
	}
	s[e] = &script{e, splitter}
	return s[e], nil
}

// prepare makes what all files share. It returns an error where the encoding does not have the delimiter.
func (e *Engine) prepare() error {
	if e.Text.Encoding == nil {
		e.Text.Encoding = charset.UTF8
	}
	e.rules = e.Text.rules(e.MaxLogSize)
	e.scripts = make(scripts)
	encodings := []*charset.Encoding{e.Text.Encoding}
	if e.Text.Encoding.Marked {
		encodings = append(encodings, charset.Detectable()...)
	}
	for _, encoding := range encodings {
		if _, err := e.scripts.add(encoding, &e.Text, e.MaxLogSize); err != nil {
			return err
		}
	}
	for _, s := range e.scripts {
		e.longest = max(e.longest, s.Longest())
	}
	_ = e.resource.Attributes.FromRaw(e.FileAttributes.Resource) // checked with the configuration
	e.joined, e.trims = e.Text.joins(), e.Text.trims()
	return nil
}

// scriptOf finds out how the file is written: its beginning may tell. head is the beginning where the caller has it. It returns ok false while
// there is too little of the file to know; and the length of the byte order mark.
func (e *Engine) scriptOf(f *file, head []byte) (mark int, ok bool) {
	encoding, mark, ok := e.Text.Encoding.Detect(head)
	if !ok && len(head) > 0 && !f.gone.IsZero() {
		encoding, ok = e.Text.Encoding, true // nothing will follow
	}
	if ok {
		f.script = e.scripts[encoding]
	}
	return mark, ok
}

// findScript is scriptOf for a file of which at least size bytes are known.
func (e *Engine) findScript(f *file, size int64) error {
	if f.script != nil || size == 0 {
		return nil
	}
	size = min(size, charset.MarkSize)
	head, err := f.readBefore(size, int(size))
	if err == nil {
		e.scriptOf(f, head)
	}
	return err
}

// body makes a text of what a record holds, or bytes where it is none. It returns ok false where the record is left out.
func (r *reader) body(s *script, text []byte) (body string, isBytes, ok bool) {
	if s.AppendsItself() && utf8.Valid(text) {
		if r.engine.trims {
			if text = r.engine.Text.trim(text); len(text) == 0 && r.engine.Text.SkipEmpty {
				return "", false, false
			}
		}
		return r.batch.Text(text), false, true
	}
	var valid bool
	r.decoded, valid = s.Append(r.decoded[:0], text)
	text = r.decoded
	if r.engine.trims && !s.Encoding.Blocks {
		if text = r.engine.Text.trim(text); len(text) == 0 && r.engine.Text.SkipEmpty {
			return "", false, false
		}
	}
	return r.batch.Text(text), !valid, true
}

func (t *Text) trim(text []byte) []byte {
	for t.TrimLeading && len(text) > 0 && blank(text[0]) {
		text = text[1:]
	}
	for t.TrimTrailing && len(text) > 0 && blank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
