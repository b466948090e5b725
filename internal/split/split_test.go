package split

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// all splits a whole text that comes in blocks of the given size, as a reader does that goes on from an offset.
func all(s *Splitter, text []byte, block int) (lines []string) {
	offset, have := 0, 0
	for {
		final := have == len(text)
		line, size := s.Next(text[offset:have], final)
		if size == 0 {
			if final {
				return lines
			}
			have = min(have+block, len(text))
			continue
		}
		if line.Truncated {
			lines = append(lines, string(line.Text)+"…")
		} else {
			lines = append(lines, string(line.Text))
		}
		offset += size
	}
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		max        int
		want       []string
	}{
		{"nothing", "", 10, nil},
		{"lines", "one\ntwo\n", 10, []string{"one", "two"}},
		{"last line without end", "one\ntwo", 10, []string{"one", "two"}},
		{"empty lines and blanks are kept", "\n \t\n\n  x  \n", 10, []string{"", " \t", "", "  x  "}},
		{"carriage return only before line feed", "a\r\nb\rc\r\r\n\r\n\r", 10, []string{"a", "b\rc\r", "", "\r"}},
		{"NUL", "a\x00b\n", 10, []string{"a\x00b"}},
		{"exactly max", "12345\n12345", 5, []string{"12345", "12345"}},
		{"exactly max and carriage return", "12345\r\nx\n", 5, []string{"12345", "x"}},
		{"max and one", "123456\nx\n", 5, []string{"12345…", "6", "x"}},
		{"max and a carriage return that is text", "12345\rx\n", 5, []string{"12345…", "\rx"}},
		{"ten times max", strings.Repeat("1234567890", 5) + "\n", 5, append(repeat("12345…", "67890…", 4), "12345…", "67890")},
		{"not inside a character", "abcdé\nabc€\nab😀\n", 5, []string{"abcd…", "é", "abc…", "€", "ab…", "😀"}},
		{"character longer than max", "😀\n", 2, []string{"\xf0\x9f…", "\x98\x80"}},
		{"invalid bytes are cut at max", "\x80\x80\x80\x80\x80\x80\x80\n", 5, []string{"\x80\x80\x80\x80\x80…", "\x80\x80"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for block := 1; block <= len(tt.text)+1; block++ {
				require.Equal(t, tt.want, all(&Splitter{Max: tt.max}, []byte(tt.text), block), "blocks of %d", block)
			}
		})
	}
}

func repeat(a, b string, n int) (all []string) {
	for range n {
		all = append(all, a, b)
	}
	return all
}

// utf16LE and utf16BE are what a reader of such files sets, and how to write one.
func utf16LE(limit int) *Splitter {
	return &Splitter{Max: limit, Unit: 2, End: []byte("\n\x00"), Return: []byte("\r\x00"), Whole: wholePairs(binary.LittleEndian)}
}

func utf16BE(limit int) *Splitter {
	return &Splitter{Max: limit, Unit: 2, End: []byte("\x00\n"), Return: []byte("\x00\r"), Whole: wholePairs(binary.BigEndian)}
}

// wholePairs leaves an odd byte, and a high surrogate that is last.
func wholePairs(order binary.ByteOrder) func([]byte) int {
	return func(text []byte) int {
		n := len(text) &^ 1
		if n >= 2 && utf16.IsSurrogate(rune(order.Uint16(text[n-2:]))) && order.Uint16(text[n-2:]) < 0xDC00 {
			n -= 2
		}
		return n
	}
}

func encode16(order binary.AppendByteOrder, text string) (all []byte) {
	for _, u := range utf16.Encode([]rune(text)) {
		all = order.AppendUint16(all, u)
	}
	return all
}

func TestUTF16LinesAreFoundAtUnitsOnly(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		max        int
		want       []string
	}{
		{"lines", "one\r\ntwo\n\n", 100, []string{"one", "two", ""}},
		{"halves of two characters look like a line feed", "\u0A41\u0100x\n\u0100\u0A00\n", 100, []string{"\u0A41\u0100x", "\u0100\u0A00"}},
		{"a line feed with a half", "\u000a\u0a0a\u0a00\u000a", 100, []string{"", "\u0a0a\u0a00"}},
		{"surrogates are not torn", "ab😀c\n", 6, []string{"ab…", "😀c"}},
		{"odd max", "abcd\n", 5, []string{"ab…", "cd"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				s := utf16LE(tt.max)
				if order == binary.BigEndian {
					s = utf16BE(tt.max)
				}
				var want []string
				for _, line := range tt.want {
					body, cut := strings.CutSuffix(line, "…")
					encoded := string(encode16(order, body))
					if cut {
						encoded += "…"
					}
					want = append(want, encoded)
				}
				for block := 1; block <= 2*len(tt.text)+2; block++ {
					require.Equal(t, want, all(s, encode16(order, tt.text), block), "%s, blocks of %d", order, block)
				}
			}
		})
	}
}

func TestOddLastByteWaitsForItsOther(t *testing.T) {
	s := utf16LE(100)
	_, size := s.Next([]byte("a\x00\n"), false)
	require.Zero(t, size)
	_, size = s.Flush([]byte("a\x00\n"))
	require.Equal(t, 2, size)
}

func TestDelimiters(t *testing.T) {
	for _, tt := range []struct {
		end, text string
		max       int
		want      []string
	}{
		{";", "a\nb;;c\r;d", 10, []string{"a\nb", "", "c\r", "d"}},
		{"||", "a|b||c|||d||", 10, []string{"a|b", "c", "|d"}},
		{"ab", "xxxxabxxxxxabxxxxxxab", 5, []string{"xxxx", "xxxxx", "xxxxx…", "x"}},
		{"aab", "aaab", 10, []string{"a"}},
		{"\x00", "a\x00\nb\x00", 10, []string{"a", "\nb"}},
	} {
		t.Run(tt.end, func(t *testing.T) {
			for block := 1; block <= len(tt.text)+1; block++ {
				require.Equal(t, tt.want, all(&Splitter{Max: tt.max, End: []byte(tt.end)}, []byte(tt.text), block), "blocks of %d", block)
			}
		})
	}
}

func TestBlocks(t *testing.T) {
	s := &Splitter{Max: 4, Blocks: true}
	require.Equal(t, []string{"a\nb\r", "\ncd"}, all(s, []byte("a\nb\r\ncd"), 100))
}

// splitters are one of each kind.
func splitters(limit int) map[string]*Splitter {
	return map[string]*Splitter{
		"plain": {Max: limit}, "delimiter": {Max: limit, End: []byte("ab")}, "long delimiter": {Max: limit, End: []byte("aab")},
		"little endian": utf16LE(limit), "big endian": utf16BE(limit),
		"two bytes": {Max: limit, End: []byte("\n"), Return: []byte("\r")},
	}
}

func TestFlushLeavesWhatMayBeAPartOfTheEnd(t *testing.T) {
	for _, tt := range []struct{ kind, text, flushed string }{
		{"plain", "abc", "abc"},
		{"plain", "abc\r", "abc"},
		{"plain", "ab\xe2\x82", "ab"},
		{"plain", "\xe2\x82", ""},
		{"plain", "ab\xff", "ab\xff"},
		{"delimiter", "xa", "x"},
		{"long delimiter", "xaa", "x"},
		{"long delimiter", "xa", "x"},
		{"little endian", "a\x00\r\x00\n", "a\x00"},
		{"little endian", "a\x00\x3d\xd8", "a\x00"},
	} {
		line, size := splitters(100)[tt.kind].Flush([]byte(tt.text))
		require.Equal(t, tt.flushed, string(line.Text), "%s %q", tt.kind, tt.text)
		require.Len(t, tt.flushed, size)
	}
}

func TestSkipFindsTheEndOfTheLineAtEveryBlockEdge(t *testing.T) {
	for kind, text := range map[string]string{
		"plain": "xx\r\nnext", "delimiter": "xaabnext", "long delimiter": "aaaaabnext", "little endian": "\x41\x0a\x00\x01\n\x00next",
		"big endian": "\x01\x00\x0a\x01\x00\x0anext",
	} {
		s := splitters(100)[kind]
		for block := 1; block <= len(text); block++ {
			offset, have, ended := 0, 0, false
			for !ended {
				have = min(have+block, len(text))
				var size int
				size, ended = s.Skip([]byte(text[offset:have]))
				offset += size
			}
			require.Equal(t, "next", text[offset:], "%s, blocks of %d", kind, block)
		}
	}
}

func TestLastEnd(t *testing.T) {
	for _, tt := range []struct {
		kind, text string
		want       int
	}{
		{"plain", "one\ntwo\nthr", 8},
		{"plain", "one", -1},
		{"delimiter", "oneabtwoabthr", 10},
		{"little endian", "a\x00\n\x00\x41\x0a\x00\x01", 4},
		{"little endian", "\x41\x0a\x00\x01", -1},
	} {
		require.Equal(t, tt.want, splitters(9)[tt.kind].LastEnd([]byte(tt.text)), "%s %q", tt.kind, tt.text)
	}
}

// obvious splits with the simplest means there are: unit by unit.
func obvious(s *Splitter, text string) (want []string) {
	end, ret := string(s.End), string(s.Return)
	if s.End == nil {
		end, ret = "\n", "\r"
	}
	for text != "" {
		line, size := text, len(text)
		for i := 0; i+len(end) <= len(text); i += s.unit() {
			if text[i:i+len(end)] == end {
				line, size = strings.TrimSuffix(text[:i], ret), i+len(end)
				break
			}
		}
		text = text[size:]
		for len(line) > s.Max {
			n := s.Max
			for k := max(1, s.Max-3); k < s.Max && s.Unit <= 1; k++ { // is something behind k the first part of a character?
				if utf8.RuneStart(line[k]) && !utf8.FullRuneInString(line[k:s.Max]) {
					n = k
					break
				}
			}
			if s.Unit > 1 {
				n = s.Whole([]byte(line[:s.Max]))
				if n == 0 {
					n = s.Unit
				}
			}
			want = append(want, line[:n]+"…")
			line = line[n:]
		}
		want = append(want, line)
	}
	return want
}

// FuzzLines compares with a slow and obvious way to do the same.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\r\ntwo\n\nthree"), uint8(3), uint8(4))
	f.Add([]byte("é€😀\n"), uint8(1), uint8(2))
	f.Add([]byte("aabab\n\x00\r\x00\n\x00"), uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, text []byte, block, limit uint8) {
		for kind, s := range splitters(int(limit)%32 + 4) {
			want := obvious(s, string(text))
			got := all(s, text, int(block)%16+1)
			require.Equal(t, fmt.Sprintf("%q", want), fmt.Sprintf("%q", got), kind)
		}
	})
}

func BenchmarkLines(b *testing.B) {
	for _, length := range []int{50, 200, 1000} {
		b.Run(fmt.Sprint(length), func(b *testing.B) {
			block := bytes.Repeat(append(bytes.Repeat([]byte("x"), length-1), '\n'), (256<<10)/length)
			s := &Splitter{Max: 1 << 20}
			b.SetBytes(int64(len(block)))
			b.ReportAllocs()
			for b.Loop() {
				for rest := block; len(rest) > 0; {
					_, size := s.Next(rest, false)
					rest = rest[size:]
				}
			}
		})
	}
}
