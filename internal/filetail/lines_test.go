package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/charset"
)

func encoding(t testing.TB, name string) *charset.Encoding {
	t.Helper()
	e, err := charset.Lookup(name)
	require.NoError(t, err)
	return e
}

// marked returns the bodies of what has come, with … where a record goes on and where it is the rest of one, and ! where it is malformed.
func (x *tail) marked() (all []string) {
	for _, r := range x.consumer.Records() {
		has := func(name, mark string) string {
			if value, ok := r.Log.Attributes().Get(name); ok && value.Bool() {
				return mark
			}
			return ""
		}
		all = append(all, has("log.record.malformed", "!")+has("log.record.continued", "…")+r.Body+has("log.record.truncated", "…"))
	}
	return all
}

// wantMarked is want with marks.
func (x *tail) wantMarked(bodies ...string) {
	x.t.Helper()
	deadline := time.Now().Add(capturetest.Patience)
	for x.consumer.Len() < len(bodies) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	require.Equal(x.t, bodies, x.marked())
}

func TestFileThatGrowsByteByByteGivesWholeLines(t *testing.T) {
	x := newTail(t)
	x.run()
	text, want := lines("grows", 1, 30)
	for i := range len(text) {
		x.write("a.log", text[i:i+1])
	}
	x.want(want...)
}

func TestUnfinishedLineIsTakenAfterTheFlushPeriod(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			x := newTail(t)
			x.settings.Text.FlushPeriod = 50 * time.Millisecond
			x.run()
			x.write("a.log", "hello ")
			x.wantMarked("hello …")
			if restart {
				x.stop()
				x.run()
			}
			x.write("a.log", "world\nnext\n")
			x.wantMarked("hello …", "…world", "next")
		})
	}
}

// Where the period is over before the turn is that has found the line, the next one takes it.
func TestUnfinishedLineIsTakenAfterAPeriodThatIsShorterThanATurn(t *testing.T) {
	x := newTail(t)
	x.settings.Text.FlushPeriod = 2 * time.Microsecond
	x.run()
	const files = 200
	for i := range files {
		x.write(fmt.Sprintf("%d.log", i), "unfinished")
	}
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == files })
}

func TestFlushedLineWithNothingMoreButItsEnd(t *testing.T) {
	x := newTail(t)
	x.settings.Text.FlushPeriod = 30 * time.Millisecond
	x.run()
	x.write("a.log", "one\xe2\x82") // a character whose end has not come stays
	x.wantMarked("one…")
	x.write("a.log", "\xac\r")
	x.wantMarked("one…", "…€…")
	x.write("a.log", "\n\nnext\n")
	x.wantMarked("one…", "…€…", "", "next")
}

func TestUnterminatedLineOfARotatedFileIsTakenOnce(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "one\ntwo, without end")
	x.run().want("one")
	x.settled()
	x.rename("a.log", "a.log.1")
	x.want("one", "two, without end")
	capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 0 })
	x.want("one", "two, without end")
}

func TestDeletedFileOfManyBatchesIsReadToItsEnd(t *testing.T) {
	x := newTail(t)
	x.settings.RotateWait = time.Nanosecond
	const count = 40_000 // 4 MB
	x.write("a.log", strings.Repeat(strings.Repeat("x", 100)+"\n", count)+"end")
	var removed atomic.Bool
	x.consumer.Answer(func(context.Context, plog.Logs) error {
		if removed.Load() {
			return nil
		}
		return errors.New("not yet")
	})
	x.run()
	x.followed("a.log") // and open: there is room for it
	require.NoError(t, os.Remove(x.path("a.log")))
	removed.Store(true)
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == count+1 })
	require.Equal(t, "end", x.consumer.Bodies()[count])
}

func TestTextIsKeptToTheByte(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "\n \t\n  leading and trailing\t \r\n\r\nlone\rreturn\r\r\nNUL\x00TAB\t\n")
	x.run().want("", " \t", "  leading and trailing\t ", "", "lone\rreturn\r", "NUL\x00TAB\t")
}

func TestBlanksAreTrimmedAndEmptyLinesSkippedByOption(t *testing.T) {
	for _, tt := range []struct {
		name                    string
		leading, trailing, skip bool
		want                    []string
	}{
		{"leading", true, false, false, []string{"", "", "a \t", "b"}},
		{"trailing", false, true, false, []string{"", "", " a", "b"}},
		{"skip", false, false, true, []string{" \t", " a \t", "b"}},
		{"all, as file_log has it", true, true, true, []string{"a", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTail(t)
			x.settings.Text.TrimLeading, x.settings.Text.TrimTrailing, x.settings.Text.SkipEmpty = tt.leading, tt.trailing, tt.skip
			x.write("a.log", " \t\n\n a \t\r\nb\n")
			x.run().want(tt.want...)
		})
	}
}

func TestCarriageReturnAndLineFeedAtTheEdgeOfABlock(t *testing.T) {
	for shift := -3; shift <= 3; shift++ {
		x := newTail(t)
		first := strings.Repeat("x", maxBlock+shift)
		x.write("a.log", first+"\r\nnext\r\n")
		x.run().want(first, "next")
		x.stop()
	}
}

func TestBytesThatAreNoUTF8(t *testing.T) {
	const text = "a\xffb\xe2\x82\ncafé\n"
	t.Run("are repaired", func(t *testing.T) {
		x := newTail(t)
		x.write("a.log", text)
		x.run().want("a\uFFFDb\uFFFD", "café")
	})
	t.Run("are a body of bytes", func(t *testing.T) {
		x := newTail(t)
		x.settings.Text.Encoding = encoding(t, "utf-8-raw")
		x.write("a.log", text)
		x.run()
		capturetest.WaitFor(t, "both lines", func() bool { return x.consumer.Len() == 2 })
		records := x.consumer.Records()
		require.Equal(t, []byte("a\xffb\xe2\x82"), records[0].Log.Body().Bytes().AsRaw())
		require.Equal(t, "café", records[1].Log.Body().Str())
	})
}

func TestBlocksOfNoEncoding(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Encoding = encoding(t, "nop")
	x.settings.MaxLogSize = 10
	x.write("a.log", "0123456789\n\r")
	x.run()
	capturetest.WaitFor(t, "both", func() bool { return x.consumer.Len() == 2 })
	require.Equal(t, []byte("0123456789"), x.consumer.Records()[0].Log.Body().Bytes().AsRaw())
	require.Equal(t, []byte("\n\r"), x.consumer.Records()[1].Log.Body().Bytes().AsRaw())
}

func encoded(t testing.TB, name, text string) string {
	t.Helper()
	all, err := encoding(t, name).Encode(text)
	require.NoError(t, err)
	return string(all)
}

func TestEncodings(t *testing.T) {
	for _, tt := range []struct{ name, written, configured string }{
		{"mark of UTF-8", "\xEF\xBB\xBF" + "zwei\r\nlines é\n", "utf-8"},
		{"UTF-16 little endian with mark, found by itself", "\xFF\xFE" + encoded(t, "utf-16le", "zwei\r\nlines é\n"), "utf-8"},
		{"UTF-16 big endian with mark, found by itself", "\xFE\xFF" + encoded(t, "utf-16be", "zwei\r\nlines é\n"), "utf-16"},
		{"UTF-16 little endian", encoded(t, "utf-16le", "zwei\r\nlines é\n"), "utf-16le"},
		{"UTF-16 big endian", encoded(t, "utf-16be", "zwei\r\nlines é\n"), "utf-16be"},
		{"Latin-1", "zwei\r\nlines \xe9\n", "iso-8859-1"},
		{"EBCDIC", encoded(t, "ibm037", "zwei\r\nlines é\n"), "ibm037"},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %t", tt.name, restart), func(t *testing.T) {
				x := newTail(t)
				x.settings.Text.Encoding = encoding(t, tt.configured)
				x.run()
				for i := range len(tt.written) {
					x.write("a.log", tt.written[i:i+1]) // so that every character is torn
					if restart && i%5 == 4 {
						x.stop()
						x.run()
					}
				}
				x.want("zwei", "lines é")
			})
		}
	}
}

func TestHalvesOfCharactersThatLookLikeALineFeed(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Encoding = encoding(t, "utf-16le")
	x.write("a.log", encoded(t, "utf-16le", "\u0A41\u0100x\nnext\n"))
	x.run().want("\u0A41\u0100x", "next")
}

func TestStartAtEndOfUTF16(t *testing.T) {
	x := newTail(t)
	x.settings.StartAtEnd = true
	x.write("a.log", "\xFF\xFE"+encoded(t, "utf-16le", "old\n\u0A41\u0100 begu"))
	x.run().settled()
	x.write("a.log", encoded(t, "utf-16le", "n\nnew\n"))
	x.want("\u0A41\u0100 begun", "new")
}

func TestDelimiter(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Delimiter = "||"
	x.write("a.log", "one\n|two||three\r||")
	x.run().want("one\n|two", "three\r")
	x.write("a.log", "four|")
	x.settled()
	x.write("a.log", "|")
	x.want("one\n|two", "three\r", "four")
}

func TestLinesAroundMaxLogSize(t *testing.T) {
	const limit = 1000
	body := strings.Repeat("0123456789", limit/10)
	for _, tt := range []struct {
		name, line      string
		split, truncate []string
	}{
		{"exactly max", body, []string{body}, []string{body}},
		{"max and one", body + "x", []string{body + "…", "…x"}, []string{body + "…"}},
		{"ten times max", strings.Repeat(body, 10), piecesOf(body, 10), []string{body + "…"}},
		{"a character at the cut", body[1:] + "€", []string{body[1:] + "…", "…€"}, []string{body[1:] + "…"}},
	} {
		for _, truncate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, truncate %t", tt.name, truncate), func(t *testing.T) {
				x := newTail(t)
				x.settings.MaxLogSize = limit
				x.settings.Text.Truncate = truncate
				want := tt.split
				if truncate {
					want = tt.truncate
				}
				x.write("a.log", "before\n"+tt.line+"\nafter\n")
				x.run().wantMarked(append(append([]string{"before"}, want...), "after")...)
			})
		}
	}
}

func piecesOf(body string, n int) (all []string) {
	for i := range n {
		piece := body
		if i > 0 {
			piece = "…" + piece
		}
		if i < n-1 {
			piece += "…"
		}
		all = append(all, piece)
	}
	return all
}

func TestLineOfManyMegabytes(t *testing.T) {
	for _, truncate := range []bool{false, true} {
		t.Run(fmt.Sprintf("truncate %t", truncate), func(t *testing.T) {
			x := newTail(t)
			x.settings.Text.Truncate = truncate
			const size = 64
			for range size {
				x.write("a.log", strings.Repeat("0123456789abcdef", 1<<16))
			}
			x.write("a.log", "\nafter\n")
			x.run()
			want := size + 1
			if truncate {
				want = 2
			}
			capturetest.WaitFor(t, "all pieces", func() bool { return x.consumer.Len() >= want })
			bodies := x.consumer.Bodies()
			require.Len(t, bodies, want)
			for _, body := range bodies[:want-1] {
				require.Len(t, body, 1<<20)
			}
			require.Equal(t, "after", bodies[want-1])
		})
	}
}

func TestRestInsideOfALineThatIsTruncated(t *testing.T) {
	x := newTail(t)
	x.settings.MaxLogSize = 10
	x.settings.Text.Truncate = true
	x.write("a.log", "0123456789 is dropped")
	x.run().wantMarked("0123456789…")
	for range 3 {
		x.stop()
		x.run().settled()
		x.write("a.log", ", and so is this")
		x.settled()
	}
	x.stop()
	x.write("a.log", "\nnext\n")
	x.run().wantMarked("0123456789…", "next")
}
