package filetail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// compressedAway compresses a file as gzip and logrotate do: the compressed one is written beside it, gets its time, and it is deleted. Between the
// steps the function is called.
func (x *tail) compressedAway(name string, step func(string)) {
	x.t.Helper()
	content, err := os.ReadFile(x.path(name))
	require.NoError(x.t, err)
	info, err := os.Stat(x.path(name))
	require.NoError(x.t, err)
	data := packed(x.t, CompressionGzip, string(content))
	x.write(name+".gz", string(data[:len(data)/2]))
	step("half compressed")
	x.write(name+".gz", string(data[len(data)/2:]))
	step("compressed")
	require.NoError(x.t, os.Chtimes(x.path(name+".gz"), info.ModTime(), info.ModTime()))
	step("with its time")
	require.NoError(x.t, os.Remove(x.path(name)))
	step("deleted")
}

// The log is renamed and compressed before there is a new one, with which its last line goes on.
func TestLineOfACRIFileGoesOnBehindACompressedOne(t *testing.T) {
	for _, seen := range []string{"each step", "renamed", "half compressed", "compressed", "with its time", "deleted", "with a new file"} {
		for _, restart := range []string{"never", "before the rotation", "renamed", "half compressed", "compressed", "with its time", "deleted"} {
			t.Run(fmt.Sprintf("seen %s, restart %s", seen, restart), func(t *testing.T) {
				x := newTail(t)
				x.settings.Include = []string{x.path("a.log*")}
				x.settings.Compression = CompressionAuto
				x.settings.Text.Format = lineformat.CRI
				x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
				step := func(now string) {
					if seen == "each step" || seen == now {
						x.settled()
					}
					if now == restart {
						x.stop()
						x.run()
						if seen == "each step" || seen == now {
							x.settled()
						}
					}
				}
				x.run()
				x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
				x.want("one")
				x.readOut()
				step("before the rotation")
				x.rename("a.log", "a.log.1")
				step("renamed")
				x.compressedAway("a.log.1", step)
				x.write("a.log", cri("stdout", "F", "ends")+cri("stdout", "F", "two"))
				step("with a new file")
				x.want("one", "begins, ends", "two")
				x.stop()
				x.run().settled()
				x.want("one", "begins, ends", "two")
			})
		}
	}
}

// criTail is an engine over a.log and its generations, in which the rest of a line is waited for as long as the test takes.
func criTail(t *testing.T) *tail {
	x := newTail(t)
	x.settings.Include = []string{x.path("a.log*")}
	x.settings.Compression = CompressionAuto
	x.settings.Text.Format = lineformat.CRI
	x.settings.Text.FlushPeriod = time.Minute
	return x
}

// halfCompressed runs the engine over a.log until that is renamed and half of it is compressed, with a line that has begun at its end. It returns what
// the compressor has not written yet.
func (x *tail) halfCompressed() (rest string) {
	x.t.Helper()
	text := cri("stdout", "F", "one") + cri("stdout", "P", "begins, ")
	x.write("a.log", text)
	x.run().want("one")
	x.readOut()
	x.rename("a.log", "a.log.1")
	x.settled()
	data := string(packed(x.t, CompressionGzip, text))
	x.write("a.log.1.gz", data[:len(data)/2])
	x.settled()
	return data[len(data)/2:]
}

// A file was left texts by several others, and the collector ended before any of it went on.
func TestEveryTextThatOthersHaveLeftComesAfterARestart(t *testing.T) {
	x := criTail(t)
	x.write("a.log", cri("stdout", "F", "one"))
	x.run().want("one")
	x.settled()
	var open []lineformat.Open
	for _, text := range []string{"first ", "second ", "third "} {
		j := lineformat.Joiner{Rules: x.engine.rules}
		j.Add(lineformat.Entry{Stream: lineformat.Stdout, Text: []byte(text), Partial: true}, 0, time.Now())
		open = append(open, j.Take()...)
	}
	x.engine.mu.Lock()
	for _, f := range x.engine.files {
		p := f.place
		p.open = string(lineformat.AppendOpen(nil, open))
		x.engine.Store.Put(f.id.key(), p.encode())
	}
	x.engine.mu.Unlock()
	x.stop()
	x.run().wantMarked("one", "second …", "third …")
	x.write("a.log", cri("stdout", "F", "ends"))
	x.wantMarked("one", "second …", "third …", "first ends")
}

// The compressor was ended before it was done, and what it has written is deleted.
func TestLineGoesOnWhenItsFileIsNotCompressedAfterAll(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		t.Run(fmt.Sprint("its file is deleted too ", deleted), func(t *testing.T) {
			x := criTail(t)
			x.halfCompressed()
			if deleted {
				require.NoError(t, os.Remove(x.path("a.log.1")))
				capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 1 })
			}
			require.NoError(t, os.Remove(x.path("a.log.1.gz")))
			if deleted {
				x.wantMarked("one", "begins, …")
				capturetest.WaitFor(t, "the compressed file is let go", func() bool { return x.engine.watched() == 0 })
				x.wantMarked("one", "begins, …")
				return
			}
			capturetest.WaitFor(t, "the compressed file is let go", func() bool { return x.engine.watched() == 1 })
			x.write("a.log", cri("stdout", "F", "ends"))
			x.wantMarked("one", "begins, ends")
		})
	}
}

// What is compressed becomes readable when the file it is made of is gone for long: what was open has waited for as long as files are given.
func TestLineOfACompressedFileThatIsDoneLateComesOnce(t *testing.T) {
	x := criTail(t)
	rest := x.halfCompressed()
	require.NoError(t, os.Remove(x.path("a.log.1")))
	capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 1 })
	x.write("a.log.1.gz", rest)
	x.wantMarked("one", "begins, …")
	x.settled()
	x.write("a.log", cri("stdout", "F", "ends")+cri("stdout", "F", "two"))
	x.wantMarked("one", "begins, …", "…ends", "two")
	x.stop()
	x.run().settled()
	x.wantMarked("one", "begins, …", "…ends", "two")
}

// readOutOf waits until all that a file holds was read, and no look will find anything new of it.
func (x *tail) readOutOf(name string) {
	x.t.Helper()
	info, err := os.Stat(x.path(name))
	require.NoError(x.t, err)
	capturetest.WaitFor(x.t, name+" is read to its end", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		for _, f := range x.engine.files {
			if f.path == x.path(name) && !f.reading && !f.queued && f.size == info.Size() && f.known.offset == info.Size() {
				return true
			}
		}
		return false
	})
}

// The writer goes on in the renamed file while that is compressed, so that the compressed one is not proved to be what was read.
func TestLateTextOfAFileThatIsCompressedIsNotLost(t *testing.T) {
	x := criTail(t)
	x.settings.RotateWait = time.Minute
	rest := x.halfCompressed()
	x.write("a.log.1", cri("stderr", "P", "late, "))
	x.readOutOf("a.log.1")
	x.write("a.log.1.gz", rest)
	x.readOut()
	x.stop()
	x.settings.Text.FlushPeriod = 50 * time.Millisecond
	x.run()
	capturetest.WaitFor(t, "the late text", func() bool { return slices.Contains(x.marked(), "late, …") })
	require.Contains(t, strings.Join(x.marked(), ""), "begins, ")
}

// A kill leaves the positions of before the rotation, whatever was seen of it.
func TestLineOfACRIFileGoesOnBehindACompressedOneAfterAKill(t *testing.T) {
	for _, kill := range []string{"renamed", "half compressed", "compressed", "with its time", "deleted"} {
		t.Run(kill, func(t *testing.T) {
			x := criTail(t)
			x.settings.RotateWait = time.Minute
			storage, saved := t.TempDir(), t.TempDir()
			x.host = capturetest.NewHost(t, storage)
			x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
			x.run().want("one")
			x.readOut()
			x.stop()
			require.NoError(t, os.CopyFS(saved, os.DirFS(storage)))
			x.run().settled()
			step := func(now string) {
				x.settled()
				if now != kill {
					return
				}
				x.stop()
				files, err := os.ReadDir(saved)
				require.NoError(t, err)
				for _, file := range files {
					content, err := os.ReadFile(filepath.Join(saved, file.Name()))
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(filepath.Join(storage, file.Name()), content, 0o600))
				}
				x.run().settled()
			}
			x.rename("a.log", "a.log.1")
			step("renamed")
			x.compressedAway("a.log.1", step)
			x.write("a.log", cri("stdout", "F", "ends"))
			x.want("one", "begins, ends")
			x.stop()
			x.run().settled()
			x.want("one", "begins, ends")
		})
	}
}

// The next file is there, and nobody writes to it.
func TestLineOfACRIFileIsFlushedWhereTheNextOneIsEmpty(t *testing.T) {
	for _, compression := range []string{CompressionNone, CompressionAuto} {
		t.Run("compression "+compression, func(t *testing.T) {
			x := criTail(t)
			x.settings.Compression = compression
			x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, 200*time.Millisecond
			x.write("a.log", cri("stdout", "F", "one"))
			x.run().want("one")
			x.readOut()
			x.write("a.log", cri("stdout", "P", "begins, "))
			x.rename("a.log", "a.log.1")
			x.write("a.log", "")
			x.wantMarked("one", "begins, …")
			x.write("a.log", cri("stdout", "F", "ends"))
			x.wantMarked("one", "begins, …", "…ends")
		})
	}
}

// The next file is left two texts of one stream, of which only one can go on.
func TestTextsOfTwoFilesComeWhereOneCanGoOn(t *testing.T) {
	x := criTail(t)
	x.settings.RotateWait = time.Minute
	x.halfCompressed()
	x.write("a.log.1", cri("stdout", "P", "late, "))
	x.readOutOf("a.log.1")
	x.write("a.log", cri("stdout", "F", "ends"))
	capturetest.WaitFor(t, "all texts", func() bool { return x.consumer.Len() == 3 })
	require.Contains(t, [][]string{{"one", "begins, …", "late, ends"}, {"one", "late, …", "begins, ends"}}, x.marked())
}

// The last event of a file, which nothing has ended yet, is not lost with the file.
func TestLastEventOfAFileThatIsCompressedBeforeAStop(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("a.log*")}
	x.settings.Compression = CompressionAuto
	x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.write("a.log", "1 first\n2 last\n")
	x.run().want("1 first")
	x.settled()
	x.rename("a.log", "a.log.1")
	x.write("a.log", "3 next\n")
	x.settled()
	x.compress("a.log.1")
	x.settled()
	x.stop()
	x.settings.Text.FlushPeriod = 50 * time.Millisecond
	x.run()
	capturetest.WaitFor(t, "all events", func() bool { return x.consumer.Len() == 3 })
	require.ElementsMatch(t, []string{"1 first", "2 last", "3 next"}, x.consumer.Bodies())
}

// The log was found truncated before its copy was there, and nothing was written to it since.
func TestEventGoesOnInACopyThatComesCompressedAfterTheTruncation(t *testing.T) {
	for range 8 { // the stored positions come in any order
		x := newTail(t)
		x.settings.Include = []string{x.path("a.log*")}
		x.settings.Compression = CompressionAuto
		x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
		x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
		x.write("a.log", "1 first\n2 begins\n")
		x.run().want("1 first")
		x.readOut()
		x.stop()
		x.copyTruncate()
		x.rename("a.log.1", "tmp")
		x.run()
		capturetest.WaitFor(t, "the truncation is told", func() bool { return x.value("otelcol_logcapture_gaps") == 1 })
		x.settled()
		x.stop()
		x.rename("tmp", "a.log.1")
		x.compress("a.log.1")
		x.run().readOut()
		x.write("a.log", "  ends\n3 next\n")
		x.want("1 first", "2 begins\n  ends")
		require.Zero(t, x.value("otelcol_logcapture_gaps"))
		x.stop()
	}
}

// A file that nothing was written to comes between the two in which a line begins and ends, and is compressed.
func TestLineOfACRIFileGoesOnBehindAnEmptyOneThatIsCompressed(t *testing.T) {
	for _, empty := range []string{"a.log", "a.log.1"} { // as which it is seen first
		for _, restart := range []string{"never", "renamed", "with an empty file", "renamed again", "with a third file", "compressed", "rotated again", "at last"} {
			t.Run(empty+" "+restart, func(t *testing.T) {
				x := criTail(t)
				x.settings.RotateWait = time.Minute
				step := func(now string) {
					x.settled()
					if now == restart {
						x.stop()
						x.run().settled()
					}
				}
				x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
				x.run().want("one")
				x.readOut()
				x.rename("a.log", "a.log.2")
				step("renamed")
				x.write(empty, "")
				step("with an empty file")
				if empty == "a.log" {
					x.rename("a.log", "a.log.1")
					step("renamed again")
				}
				x.write("a.log", cri("stdout", "F", "ends"))
				x.want("one", "begins, ends")
				step("with a third file")
				x.compress("a.log.1")
				step("compressed")
				x.rename("a.log.2", "a.log.3")
				x.rename("a.log.1.gz", "a.log.2.gz")
				x.rename("a.log", "a.log.1")
				step("rotated again")
				x.write("a.log", cri("stdout", "F", "two"))
				x.want("one", "begins, ends", "two")
				step("at last")
				x.want("one", "begins, ends", "two")
			})
		}
	}
}

// A file that only has what was left to it is gone after a restart.
func TestLineOfACRIFileIsNotLostWithTheEmptyOneBehindIt(t *testing.T) {
	for _, how := range []string{"compressed", "deleted"} {
		for _, next := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, there is a next file %t", how, next), func(t *testing.T) {
				x := criTail(t)
				if next {
					x.settings.RotateWait = time.Minute
				}
				x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
				x.run().want("one")
				x.readOut()
				x.rename("a.log", "a.log.1")
				x.settled()
				x.write("a.log", "")
				x.settled()
				x.stop()
				want := []string{"one", "begins, …"}
				if how == "compressed" {
					x.compress("a.log")
				} else {
					require.NoError(t, os.Remove(x.path("a.log")))
				}
				if next {
					x.write("a.log", cri("stdout", "F", "ends"))
					want = []string{"one", "begins, ends"}
				} else {
					x.settings.Text.FlushPeriod = 50 * time.Millisecond
				}
				x.run().wantMarked(want...)
				require.Zero(t, x.value("otelcol_logcapture_gaps"))
				x.stop()
				x.run().settled()
				x.wantMarked(want...)
			})
		}
	}
}
