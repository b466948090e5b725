// Package charset knows the encodings of log files: how a line ends in them, where a character ends, and what the text is as UTF-8.
//
// The names are those of contrib's file_log receiver and of the IANA registry. A byte order mark at the beginning of a file says more
// than a name does: a file that is configured as UTF-8 or UTF-16 and begins with the mark of another of these is read as that one.
package charset

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"

	"github.com/logcapture/logcapture/internal/split"
)

// Encoding is one encoding. It is not changed and safe for concurrent use.
type Encoding struct {
	// Name is what the encoding was looked up by, in lower case.
	Name string
	// Blocks says that there is no text, and there are no lines.
	Blocks bool
	// Marked says that a byte order mark is taken off, and overrules the encoding.
	Marked bool
	// ASCII says that the bytes below 128 are ASCII wherever they are the first of a character.
	ASCII bool

	raw  bool // what is no valid text is left as it is
	unit int
	// nil means UTF-8
	coder encoding.Encoding
	wide  *wide
	pool  *sync.Pool // of *encoding.Decoder
}

// The encodings that need no table.
var (
	UTF8    = &Encoding{Name: "utf-8", Marked: true, ASCII: true, unit: 1}
	utf8Raw = &Encoding{Name: "utf-8-raw", Marked: true, ASCII: true, raw: true, unit: 1}
	nop     = &Encoding{Name: "nop", Blocks: true, raw: true, unit: 1}
	utf16LE = &Encoding{Name: "utf-16le", Marked: true, unit: 2, wide: littleEndian}
	utf16BE = &Encoding{Name: "utf-16be", Marked: true, unit: 2, wide: bigEndian}
)

// Without a mark, utf-16 is little endian, as contrib has it: Windows writes it.
var named = map[string]*Encoding{
	"": UTF8, "utf-8": UTF8, "utf8": UTF8, "ascii": UTF8, "us-ascii": UTF8,
	"utf-8-raw": utf8Raw, "utf8-raw": utf8Raw,
	"nop":    nop,
	"utf-16": utf16LE, "utf16": utf16LE, "utf-16le": utf16LE, "utf16le": utf16LE, "utf-16be": utf16BE, "utf16be": utf16BE,
}

// Lookup returns the encoding of a name, which may be in upper or lower case.
func Lookup(name string) (*Encoding, error) {
	lower := strings.ToLower(name)
	if e, ok := named[lower]; ok {
		return e, nil
	}
	coder, err := ianaindex.IANA.Encoding(lower)
	if err != nil || coder == nil {
		return nil, fmt.Errorf("%q is no known encoding", name)
	}
	e := &Encoding{Name: lower, unit: 1, coder: coder}
	e.pool = &sync.Pool{New: func() any { return coder.NewDecoder() }}
	plain, err := e.Encode("\r\n azAZ09{}[]\":,")
	e.ASCII = err == nil && string(plain) == "\r\n azAZ09{}[]\":,"
	return e, nil
}

// Encode returns text in the encoding. An error says which character it does not have.
func (e *Encoding) Encode(text string) ([]byte, error) {
	switch {
	case e.wide != nil:
		return e.wide.encode(text), nil
	case e.coder == nil:
		return []byte(text), nil
	}
	return e.coder.NewEncoder().Bytes([]byte(text))
}

// Splitter returns what cuts text of the encoding into lines of at most limit bytes. An empty delimiter is a line feed, with a carriage
// return before it or not.
func (e *Encoding) Splitter(limit int, delimiter string) (*split.Splitter, error) {
	s := &split.Splitter{Max: limit, Unit: e.unit, Whole: e.Whole, Blocks: e.Blocks}
	if e.coder == nil && e.wide == nil {
		s.Whole = nil
	}
	if e.Blocks {
		return s, nil
	}
	end, err := e.Encode("\n")
	if err != nil {
		return nil, err
	}
	if delimiter != "" && delimiter != "\n" {
		s.End, err = e.Encode(delimiter)
		return s, err
	}
	if string(end) == "\n" {
		return s, nil // which is faster than to look for it as any other
	}
	s.End = end
	s.Return, err = e.Encode("\r")
	return s, err
}

// Whole returns the length of text without a character that is cut at its end.
func (e *Encoding) Whole(text []byte) int {
	switch {
	case e.wide != nil:
		return e.wide.whole(text)
	case e.coder == nil:
		return split.WholeUTF8(text)
	}
	decoder := e.decoder()
	defer e.pool.Put(decoder)
	var sink [4 << 10]byte
	whole := 0
	for {
		_, n, err := decoder.Transform(sink[:], text[whole:], false)
		whole += n
		if err != transform.ErrShortDst { //nolint:errorlint // a sentinel that is returned as it is
			return whole
		}
	}
}

func (e *Encoding) decoder() *encoding.Decoder {
	decoder := e.pool.Get().(*encoding.Decoder)
	decoder.Reset()
	return decoder
}

// Append appends text as UTF-8 to dst, each maximal sequence of bytes that is no character as one U+FFFD. It returns valid false where
// the encoding is one that leaves what is no text: then it has appended the bytes as they are.
func (e *Encoding) Append(dst, text []byte) (all []byte, valid bool) {
	switch {
	case e.wide != nil:
		return e.wide.append(dst, text), true
	case e.raw:
		return append(dst, text...), !e.Blocks && utf8.Valid(text)
	case e.coder == nil:
		return AppendValid(dst, text), true
	}
	decoder := e.decoder()
	defer e.pool.Put(decoder)
	for {
		if cap(dst)-len(dst) < len(text)+utf8.UTFMax {
			dst = append(make([]byte, 0, 2*cap(dst)+len(text)+64), dst...)
		}
		nDst, nSrc, err := decoder.Transform(dst[len(dst):cap(dst)], text, true)
		dst, text = dst[:len(dst)+nDst], text[nSrc:]
		if err != transform.ErrShortDst { //nolint:errorlint // a sentinel that is returned as it is
			return dst, true
		}
	}
}

// AppendsItself says that valid UTF-8 is appended as it is, and so need not be copied.
func (e *Encoding) AppendsItself() bool { return e.coder == nil && e.wide == nil && !e.Blocks }

// AppendValid appends text to dst, each maximal sequence of bytes that is no character as one U+FFFD: a character whose end is missing is
// one such sequence, a byte that no character begins with is another.
func AppendValid(dst, text []byte) []byte {
	for len(text) > 0 {
		good, bad := badSequence(text)
		dst = append(dst, text[:good]...)
		if bad > 0 {
			dst = append(dst, "\uFFFD"...)
		}
		text = text[good+bad:]
	}
	return dst
}

// badSequence returns how many bytes are valid, and the length of the sequence behind them that is not.
func badSequence(text []byte) (good, bad int) {
	for good < len(text) {
		if text[good] < utf8.RuneSelf {
			good++
			continue
		}
		r, size := utf8.DecodeRune(text[good:])
		if r != utf8.RuneError || size > 1 {
			good += size
			continue
		}
		bad = 1
		for good+bad < len(text) && !utf8.FullRune(text[good:good+bad+1]) {
			bad++
		}
		return good, bad
	}
	return good, 0
}

var (
	markUTF8    = []byte("\xEF\xBB\xBF")
	markUTF16LE = []byte("\xFF\xFE")
	markUTF16BE = []byte("\xFE\xFF")
)

// Detectable returns the encodings that Detect can find by a mark.
func Detectable() []*Encoding { return []*Encoding{UTF8, utf16LE, utf16BE} }

// MarkSize is how much of the beginning of a file [Encoding.Detect] needs.
const MarkSize = 3

// Detect looks at the beginning of a file, as much as there is of it. It returns the encoding that the file has, and the length of the byte
// order mark; ok false where the mark has begun and has to be waited for.
func (e *Encoding) Detect(head []byte) (actual *Encoding, mark int, ok bool) {
	if !e.Marked {
		return e, 0, true
	}
	for _, m := range []struct {
		mark []byte
		as   *Encoding
	}{{markUTF8, UTF8}, {markUTF16LE, utf16LE}, {markUTF16BE, utf16BE}} {
		switch {
		case bytes.HasPrefix(head, m.mark):
			if m.as == UTF8 && e.raw {
				return e, len(m.mark), true
			}
			return m.as, len(m.mark), true
		case len(head) < len(m.mark) && bytes.HasPrefix(m.mark, head):
			return e, 0, false
		}
	}
	return e, 0, true
}
