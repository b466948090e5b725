// Package split cuts bytes into lines. It is pure: bytes in, lines out, no files, no clock, no state between calls. Where a line begins is
// known to the caller, so a caller that keeps only an offset can go on after a restart as if nothing had happened. Whether it is
// inside of a line that was cut it learns from the bytes before the offset; see [Splitter.Ends].
package split

import (
	"bytes"
	"unicode/utf8"
)

// Splitter cuts lines. With Max alone it cuts UTF-8 at line feeds. It has no state and is safe for concurrent use.
type Splitter struct {
	// Max is the length in bytes at which a line is split: what follows is taken as a line of its own. At least 1.
	Max int
	// End is what ends a line, in the encoding of the text. Nil is a line feed.
	End []byte
	// Return is part of the end where it comes right before End. Nil is none; a carriage return where End is nil.
	Return []byte
	// Unit is the number of bytes that the encoding counts by: 2 for UTF-16, 4 for UTF-32. An end begins at a multiple of it, counted
	// from where the block begins: elsewhere the same bytes are halves of two characters. 0 is 1.
	Unit int
	// Whole returns how many bytes of a text that was cut somewhere are whole characters. Nil is [WholeUTF8].
	Whole func(text []byte) int
	// Blocks says that there are no lines, only pieces of at most Max bytes.
	Blocks bool
}

// Line is one line without its end.
type Line struct {
	Text []byte // shares the memory of the block
	// Truncated says that the line was split and goes on behind this.
	Truncated bool
}

// Next returns the first line of block, which begins where a line begins, and how many bytes of the block it takes with its end. That
// is 0 where the block has no whole line; with final set, where nothing will follow, the rest of the block is one. A carriage
// return is part of the end only before a line feed.
func (s *Splitter) Next(block []byte, final bool) (line Line, size int) {
	if s.End != nil || s.Blocks {
		return s.next(block, final)
	}
	// One byte more than Max can be the line feed of a line of exactly Max, two more a carriage return and a line feed.
	window := block[:min(len(block), s.Max+2)]
	end := bytes.IndexByte(window, '\n')
	switch {
	case end >= 0:
		text := window[:end]
		if end > 0 && text[end-1] == '\r' {
			text = text[:end-1]
		}
		if len(text) <= s.Max {
			return Line{Text: text}, end + 1
		}
	case len(window) < s.Max+2 && !final:
		return Line{}, 0
	case len(window) <= s.Max:
		return Line{Text: window}, len(window)
	}
	return s.cut(window)
}

// next is Next for other ends than a line feed.
func (s *Splitter) next(block []byte, final bool) (line Line, size int) {
	if s.Blocks {
		if size = min(len(block), s.Max); size < s.Max && !final {
			size = 0
		}
		return Line{Text: block[:size]}, size
	}
	longest := s.Max + len(s.Return) + len(s.End)
	window := block[:min(len(block), longest)]
	end := s.index(window)
	switch {
	case end >= 0:
		if text := s.withoutReturn(window[:end]); len(text) <= s.Max {
			return Line{Text: text}, end + len(s.End)
		}
	case len(window) < longest && !final:
		return Line{}, 0
	case len(window) <= s.Max:
		return Line{Text: window}, len(window)
	}
	return s.cut(window)
}

// cut takes the first Max bytes of a line that is longer, or fewer where that would tear a character.
func (s *Splitter) cut(window []byte) (line Line, size int) {
	size = min(s.Max, len(window))
	if whole := s.whole(window[:size]); whole > 0 {
		size = whole
	} else if s.Unit > 1 { // Max is less than a unit
		size = min(s.Unit, len(window))
	}
	return Line{Text: window[:size], Truncated: true}, size
}

// Flush returns what of an unfinished line can be taken before its end has come, and how many bytes that are. What may be the first part
// of a character or of the end is left.
func (s *Splitter) Flush(block []byte) (line Line, size int) {
	text := block[:s.whole(block)]
	if s.End == nil {
		text = bytes.TrimSuffix(text, carriageReturn)
		return Line{Text: text, Truncated: true}, len(text)
	}
	text = s.withoutReturn(text)
	for n := len(s.End) - s.unit(); n > 0; n -= s.unit() {
		if bytes.HasSuffix(text, s.End[:n]) {
			text = s.withoutReturn(text[:len(text)-n])
			break
		}
	}
	return Line{Text: text, Truncated: true}, len(text)
}

// Skip returns how many bytes of a block, which begins inside of a line, belong to this line with its end, and whether the end is among
// them. A part of the end that the rest may follow is left.
func (s *Splitter) Skip(block []byte) (size int, ended bool) {
	if s.Blocks {
		return 0, true
	}
	if end := s.index(block); end >= 0 {
		return end + max(1, len(s.End)), true
	}
	size = max(0, len(block)-max(1, len(s.End))+1)
	return size - size%s.unit(), false
}

// LastEnd returns the place behind the last end of a line in a block that begins at a multiple of Unit, -1 where there is none.
func (s *Splitter) LastEnd(block []byte) int {
	if s.Blocks {
		return len(block)
	}
	if s.End == nil {
		if i := bytes.LastIndexByte(block, '\n'); i >= 0 {
			return i + 1
		}
		return -1
	}
	for rest := block; ; {
		i := bytes.LastIndex(rest, s.End)
		if i < 0 || i%s.unit() == 0 {
			if i >= 0 {
				i += len(s.End)
			}
			return i
		}
		rest = rest[:i+len(s.End)-1]
	}
}

// Ends says that the last bytes before a place, which is a multiple of Unit, are the end of a line. Elsewhere than at the beginning of a
// file, a place that they are not is inside of a line that was cut.
func (s *Splitter) Ends(before []byte) bool {
	if s.End == nil {
		return s.Blocks || len(before) > 0 && before[len(before)-1] == '\n'
	}
	return bytes.HasSuffix(before, s.End)
}

// MayEnd says whether a part of a line, which begins anywhere, may have an end in it.
func (s *Splitter) MayEnd(part []byte) bool {
	if s.End == nil {
		return s.Blocks || bytes.IndexByte(part, '\n') >= 0
	}
	return bytes.IndexByte(part, s.End[len(s.End)-1]) >= 0
}

// Longest returns how many bytes hold a whole line with its end, whatever its length.
func (s *Splitter) Longest() int { return s.Max + max(2, len(s.Return)+len(s.End)) }

var carriageReturn = []byte("\r")

func (s *Splitter) unit() int { return max(1, s.Unit) }

func (s *Splitter) whole(text []byte) int {
	if s.Whole != nil {
		return s.Whole(text)
	}
	return WholeUTF8(text)
}

func (s *Splitter) withoutReturn(text []byte) []byte {
	if len(s.Return) == 0 {
		return text
	}
	return bytes.TrimSuffix(text, s.Return)
}

// index returns where the first end begins, -1 where there is none.
func (s *Splitter) index(block []byte) int {
	if s.End == nil {
		return bytes.IndexByte(block, '\n')
	}
	for from := 0; ; {
		i := bytes.Index(block[from:], s.End)
		if i < 0 || (from+i)%s.unit() == 0 {
			if i >= 0 {
				i += from
			}
			return i
		}
		from += i + 1
	}
}

// WholeUTF8 returns the length of text without a character that is cut at its end. Bytes that can be no part of a character are whole.
func WholeUTF8(text []byte) int {
	for i := len(text) - 1; i >= 0 && i >= len(text)-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			if utf8.FullRune(text[i:]) {
				return len(text)
			}
			return i
		}
	}
	return len(text)
}
