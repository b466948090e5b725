package charset

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// byteOrder reads and appends.
type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// wide is UTF-16 in one byte order.
type wide struct{ order byteOrder }

var (
	littleEndian = &wide{binary.LittleEndian}
	bigEndian    = &wide{binary.BigEndian}
)

func (w *wide) encode(text string) (all []byte) {
	for _, unit := range utf16.Encode([]rune(text)) {
		all = w.order.AppendUint16(all, unit)
	}
	return all
}

// whole leaves an odd byte, and a high surrogate that is last.
func (w *wide) whole(text []byte) int {
	n := len(text) &^ 1
	if n > 0 && isHigh(w.order.Uint16(text[n-2:])) {
		n -= 2
	}
	return n
}

func isHigh(unit uint16) bool { return unit >= 0xD800 && unit < 0xDC00 }

// append appends text as UTF-8, U+FFFD for a surrogate without the other and for an odd byte.
func (w *wide) append(dst, text []byte) []byte {
	for len(text) >= 2 {
		unit := w.order.Uint16(text)
		text = text[2:]
		r := rune(unit)
		if isHigh(unit) && len(text) >= 2 {
			if pair := utf16.DecodeRune(r, rune(w.order.Uint16(text))); pair != utf8.RuneError {
				r, text = pair, text[2:]
			}
		}
		dst = utf8.AppendRune(dst, r) // which makes U+FFFD of a surrogate
	}
	if len(text) > 0 {
		dst = utf8.AppendRune(dst, utf8.RuneError)
	}
	return dst
}
