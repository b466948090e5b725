package charset

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/text/encoding/unicode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func lookup(t testing.TB, name string) *Encoding {
	t.Helper()
	e, err := Lookup(name)
	require.NoError(t, err)
	return e
}

func TestNames(t *testing.T) {
	for _, name := range []string{
		"", "utf-8", "UTF-8", "utf8-raw", "nop", "ascii", "us-ascii", "utf-16", "utf-16le", "UTF-16BE", "big5", "gbk", "gb18030", "shift_jis",
		"euc-jp", "euc-kr", "iso-2022-jp", "iso-8859-1", "latin1", "windows-1252", "koi8-r", "ibm037", "macintosh",
	} {
		_, err := Lookup(name)
		require.NoError(t, err, name)
	}
	_, err := Lookup("utf-9")
	require.ErrorContains(t, err, `"utf-9"`)
}

func TestLinesOfEveryEncoding(t *testing.T) {
	for name, texts := range map[string][]string{
		"big5":         {"中文", "", "a"},
		"gbk":          {"中文", "a"},
		"gb18030":      {"中😀文", "é"},
		"shift_jis":    {"日本ソ表", "ｱ"},
		"euc-jp":       {"日本"},
		"euc-kr":       {"한국"},
		"iso-2022-jp":  {"日本", "plain", "日"},
		"windows-1252": {"é€", "x"},
		"ibm037":       {"host", "log"},
		"utf-16le":     {"\u0A41\u0100x", "😀"},
		"utf-16be":     {"\u0A00\u0100x", "😀"},
		"utf-8":        {"é€😀"},
	} {
		t.Run(name, func(t *testing.T) {
			e := lookup(t, name)
			encoded, err := e.Encode(strings.Join(texts, "\r\n") + "\n")
			require.NoError(t, err)
			s, err := e.Splitter(1<<20, "")
			require.NoError(t, err)
			var got []string
			for len(encoded) > 0 {
				line, size := s.Next(encoded, false)
				require.Positive(t, size)
				text, valid := e.Append(nil, line.Text)
				require.True(t, valid)
				got = append(got, string(text))
				encoded = encoded[size:]
			}
			require.Equal(t, texts, got)
		})
	}
}

func TestMaxNeverTearsACharacter(t *testing.T) {
	const text = "中文字元中文字元"
	for _, name := range []string{"big5", "gb18030", "euc-jp", "shift_jis", "utf-8", "utf-16le", "utf-16be"} {
		for limit := 4; limit < 20; limit++ {
			e := lookup(t, name)
			encoded, err := e.Encode(text + "\n")
			require.NoError(t, err)
			s, err := e.Splitter(limit, "")
			require.NoError(t, err)
			var whole []byte
			for len(encoded) > 0 {
				line, size := s.Next(encoded, false)
				require.LessOrEqual(t, len(line.Text), limit)
				whole, _ = e.Append(whole, line.Text)
				encoded = encoded[size:]
			}
			require.Equal(t, text, string(whole), "%s, %d", name, limit)
		}
	}
}

func TestDelimiterIsInTheEncoding(t *testing.T) {
	s, err := lookup(t, "utf-16be").Splitter(10, "||")
	require.NoError(t, err)
	require.Equal(t, "\x00|\x00|", string(s.End))
	_, err = lookup(t, "iso-8859-1").Splitter(10, "中")
	require.Error(t, err)
}

func TestRepair(t *testing.T) {
	for text, want := range map[string]string{
		"plain é":                       "plain é",
		"a\xffb":                        "a\uFFFDb",
		"a\xff\xfeb":                    "a\uFFFD\uFFFDb",
		"a\xe2\x82b":                    "a\uFFFDb",                  // one character without its end
		"\xf0\x9f\x98":                  "\uFFFD",                    // the same at the end
		"\xe2\xe2\x82\xac":              "\uFFFD€",                   // what follows is good
		"\xed\xa0\x80":                  "\uFFFD\uFFFD\uFFFD",        // a surrogate: its first byte allows no such second
		"\xc0\xaf":                      "\uFFFD\uFFFD",              // overlong
		"\xf4\x90\x80\x80":              "\uFFFD\uFFFD\uFFFD\uFFFD",  // beyond Unicode
		"\xf1\x80\x80\xe1\x80\xc2b\x80": "\uFFFD\uFFFD\uFFFDb\uFFFD", // the example of the Unicode standard
	} {
		require.Equal(t, want, string(AppendValid(nil, []byte(text))), "%q", text)
	}
}

// FuzzRepair compares with the decoder of golang.org/x/text, which is another implementation of the same rule.
func FuzzRepair(f *testing.F) {
	f.Add([]byte("a\xe2\x82b\xff\xf1\x80\x80\xe1\x80\xc2b\x80\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, text []byte) {
		want, err := unicode.UTF8.NewDecoder().Bytes(text)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("%q", want), fmt.Sprintf("%q", AppendValid(nil, text)))
	})
}

// FuzzUTF16 compares with the standard library.
func FuzzUTF16(f *testing.F) {
	f.Add([]byte("a\x00\x3d\xd8\x00\xde\x00\xdc\x3d\xd8\x3d\xd8\x00\xde\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, e := range []*Encoding{utf16LE, utf16BE} {
			var units []uint16
			for i := 0; i+1 < len(text); i += 2 {
				units = append(units, e.wide.order.Uint16(text[i:]))
			}
			want := string(utf16.Decode(units))
			if len(text)%2 == 1 {
				want += "\uFFFD"
			}
			got, valid := e.Append(nil, text)
			require.True(t, valid)
			require.Equal(t, fmt.Sprintf("%q", want), fmt.Sprintf("%q", got))
		}
	})
}

func TestRawIsLeftAsItIs(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		valid      bool
	}{{"utf-8-raw", "é", true}, {"utf-8-raw", "\xff", false}, {"nop", "text", false}} {
		got, valid := lookup(t, tt.name).Append(nil, []byte(tt.text))
		require.Equal(t, tt.text, string(got))
		require.Equal(t, tt.valid, valid, "%s %q", tt.name, tt.text)
	}
}

func TestByteOrderMarks(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		actual     string
		mark       int
		ok         bool
	}{
		{"utf-8", "abc", "utf-8", 0, true},
		{"utf-8", "", "utf-8", 0, false},
		{"utf-8", "\xEF\xBB\xBFa", "utf-8", 3, true},
		{"utf-8", "\xEF\xBB", "utf-8", 0, false},
		{"utf-8", "\xEF", "utf-8", 0, false},
		{"utf-8", "\xEF\xBBa", "utf-8", 0, true},
		{"utf-8", "\xFF\xFEa\x00", "utf-16le", 2, true},
		{"utf-16le", "\xFE\xFF\x00a", "utf-16be", 2, true},
		{"utf-16", "\xFE\xFF", "utf-16be", 2, true},
		{"utf-16", "a\x00", "utf-16le", 0, true},
		{"utf-16be", "\xFE", "utf-16be", 0, false},
		{"utf-8-raw", "\xEF\xBB\xBF", "utf-8-raw", 3, true},
		{"nop", "\xEF\xBB\xBF", "nop", 0, true},
		{"big5", "\xFE\xFF", "big5", 0, true},
	} {
		actual, mark, ok := lookup(t, tt.name).Detect([]byte(tt.head))
		require.Equal(t, fmt.Sprint(tt.actual, tt.mark, tt.ok), fmt.Sprint(actual.Name, mark, ok), "%s %q", tt.name, tt.head)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, name := range []string{"utf-8", "utf-16le", "windows-1252", "gbk"} {
		b.Run(name, func(b *testing.B) {
			e := lookup(b, name)
			text, err := e.Encode(strings.Repeat("x", 200))
			require.NoError(b, err)
			var dst []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				dst, _ = e.Append(dst[:0], text)
			}
		})
	}
}
