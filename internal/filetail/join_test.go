package filetail

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/lineformat"
)

func multiline(t testing.TB, pattern string, start, omit bool) *lineformat.Multiline {
	t.Helper()
	m, err := lineformat.NewMultiline(pattern, start, omit)
	require.NoError(t, err)
	return m
}

const testStamp = "2023-06-22T10:27:25.813799277Z"

// cri writes a line as containerd does.
func cri(stream, tag, text string) string {
	return testStamp + " " + stream + " " + tag + " " + text + "\n"
}

// restarted is a test with and without a restart at the given moment.
func restarted(t *testing.T, test func(t *testing.T, x *tail, again func())) {
	t.Helper()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %t", restart), func(t *testing.T) {
			x := newTail(t)
			x.settings.Text.FlushPeriod = time.Minute // nothing is given up because this test was slow
			test(t, x, func() {
				x.settled()
				if restart {
					x.stop()
					x.run().settled()
				}
			})
		})
	}
}

func TestEventInThreeWrites(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
		x.run()
		x.write("a.log", "1 first\n2 begins\n")
		x.want("1 first")
		again()
		x.write("a.log", "  goes")
		again()
		x.write("a.log", " on\n")
		again()
		x.write("a.log", "3 next\n")
		x.want("1 first", "2 begins\n  goes on")
		x.settled()
		x.want("1 first", "2 begins\n  goes on")
	})
}

func TestEventEndsByPattern(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Text.Multiline = multiline(t, `END$`, false, true)
		x.run()
		x.write("a.log", "a\nb END\nc\n")
		x.want("a\nb ")
		again()
		x.write("a.log", "d END\n")
		x.want("a\nb ", "c\nd ")
	})
}

func TestLastEventIsFlushedAfterItsTime(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.settings.Text.FlushPeriod = 50 * time.Millisecond
	x.write("a.log", "1 first\n2 last\n  goes on\n")
	x.run().want("1 first", "2 last\n  goes on")
	x.stop()
	x.run().settled()
	x.write("a.log", "3 begins\nand does not en")
	x.wantMarked("1 first", "2 last\n  goes on", "3 begins\nand does not en…")
	x.write("a.log", "d\n4 next\n")
	x.wantMarked("1 first", "2 last\n  goes on", "3 begins\nand does not en…", "…d", "4 next")
}

func TestLastEventOfADeletedFile(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.write("a.log", "1 first\n2 last\n  without end")
	x.run().want("1 first")
	x.settled()
	require.NoError(t, os.Remove(x.path("a.log")))
	x.wantMarked("1 first", "2 last\n  without end")
}

func TestEventOfTenThousandLines(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
		x.run()
		half := strings.Repeat("\n  at some.method(File.java:12)", 5000)
		x.write("a.log", "1 begins"+half+"\n")
		again()
		x.write("a.log", half[1:]+"\n2 next\n")
		x.want("1 begins" + half + half)
	})
}

func TestEventLongerThanMax(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.MaxLogSize = 20
		x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
		x.run()
		x.write("a.log", "1 begins\n  aaaaa\n")
		again()
		x.write("a.log", "  bbbbb\n")
		x.wantMarked("1 begins\n  aaaaa…")
		again()
		x.write("a.log", "  ccccc\n")
		again()
		x.write("a.log", "2 next\n3 x\n")
		x.wantMarked("1 begins\n  aaaaa…", "…  bbbbb\n  ccccc", "2 next")
	})
}

func TestEventIsOpenWhenItsFileIsRotatedAndCompressedWhileDown(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("a.log*")}
	x.settings.Compression = CompressionAuto
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.write("a.log", "1 first\n2 begins\n")
	x.run().want("1 first")
	x.settled()
	x.stop()
	x.write("a.log", "  goes on\n3 next\n")
	x.settings.Text.FlushPeriod = 50 * time.Millisecond
	text, err := os.ReadFile(x.path("a.log"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(x.path("a.log.1.gz"), packed(t, CompressionGzip, string(text)), 0o600))
	require.NoError(t, os.Remove(x.path("a.log")))
	x.run().want("1 first", "2 begins\n  goes on", "3 next")
}

func TestEventGoesOnBehindATruncation(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.write("a.log", "1 first, longer than what follows\n2 begins\n")
	x.run().want("1 first, longer than what follows")
	x.settled()
	require.NoError(t, os.Truncate(x.path("a.log"), 0))
	x.settled()
	x.write("a.log", "  goes on\n3 next\n")
	x.want("1 first, longer than what follows", "2 begins\n  goes on")
}

// The copy has what the event began with, the log what it ends with.
func TestEventGoesOnBehindACopyAndATruncation(t *testing.T) {
	for _, pattern := range []string{"a.log", "a.log*"} {
		for _, when := range []string{"live", "while down", "while down and compressed"} {
			for _, unread := range []string{"", "  more\n", "  more\n2b whole\n2c begins\n"} {
				t.Run(fmt.Sprintf("%s %s, %d bytes unread", pattern, when, len(unread)), func(t *testing.T) {
					x := newTail(t)
					x.settings.Include = []string{x.path(pattern)}
					x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
					x.settings.Text.Multiline = multiline(t, `^\d\w? `, true, false)
					x.write("a.log", "1 first\n2 begins\n")
					x.run().want("1 first")
					x.settled()
					if when != "live" {
						x.stop()
					}
					x.write("a.log", unread)
					x.copyTruncate()
					if when == "while down and compressed" {
						x.settings.Compression = CompressionAuto
						x.compress("a.log.1")
					}
					x.write("a.log", "  goes on\n3 next\n")
					if when != "live" {
						x.run()
					}
					want := strings.Split("1 first\n2 begins\n"+unread+"  goes on", "\n")
					x.want(events(want)...)
					x.settled()
					x.want(events(want)...)
					require.Zero(t, x.value("otelcol_logcapture_gaps"))
					x.stop()
					x.run().settled()
					x.write("a.log", "4 last\n")
					x.want(append(events(want), "3 next")...)
				})
			}
		}
	}
}

// Several copies of one log are made while nobody looks: the first goes on with what was read, the others are read in their order before the log.
func TestEventGoesOnThroughSeveralCopiesMadeWhileDown(t *testing.T) {
	for _, copies := range []int{2, 3} {
		for _, compressed := range []bool{false, true} {
			for _, format := range []lineformat.Format{lineformat.Raw, lineformat.CRI} {
				t.Run(fmt.Sprintf("%d copies, compressed %v, %v", copies, compressed, format), func(t *testing.T) {
					x := newTail(t)
					x.settings.Include = []string{x.path("a.log*")}
					x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
					x.settings.Compression = CompressionAuto
					begins, ends, separator := "%d begins\n", "  ends %d\n", "\n"
					if x.settings.Text.Format = format; format == lineformat.Raw {
						x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
					} else {
						begins, ends, separator = cri("stdout", "P", "%d begins"), cri("stdout", "F", "  ends %d"), ""
					}
					x.write("a.log", fmt.Sprintf(begins, 1))
					x.run().readOut()
					x.stop()
					var want []string
					for i := range copies {
						x.copyTruncate()
						if compressed {
							x.compress("a.log.1")
						}
						x.write("a.log", fmt.Sprintf(ends, i+1)+fmt.Sprintf(begins, i+2))
						want = append(want, fmt.Sprintf("%d begins%s  ends %d", i+1, separator, i+1))
					}
					x.run().want(want...)
					x.settled()
					x.want(want...)
					require.Zero(t, x.value("otelcol_logcapture_gaps"))
					x.stop()
					x.run().settled()
					x.write("a.log", fmt.Sprintf(ends, copies+1)+fmt.Sprintf(begins, copies+2))
					x.want(append(want, fmt.Sprintf("%d begins%s  ends %d", copies+1, separator, copies+1))...)
				})
			}
		}
	}
}

// The log is copied and truncated, and nothing is written to it before the collector is stopped; then it is, and copied again.
func TestEventGoesOnWhereItsLogWasEmptyAtTheStop(t *testing.T) {
	for _, pattern := range []string{"a.log", "a.log*"} {
		for copies := range 3 {
			for _, compressed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d copies while down, compressed %v", pattern, copies, compressed), func(t *testing.T) {
					x := newTail(t)
					x.settings.Include = []string{x.path(pattern)}
					x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
					x.settings.Compression = CompressionAuto
					x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
					x.write("a.log", "1 first\n2 begins\n")
					x.run().want("1 first")
					x.settled()
					x.copyTruncate()
					x.settled()
					x.stop()
					want := []string{"1 first"}
					for i := range copies {
						x.write("a.log", fmt.Sprintf("  goes on\n%d begins\n", i+3))
						x.copyTruncate()
						if compressed {
							x.compress("a.log.1")
						}
						want = append(want, fmt.Sprintf("%d begins\n  goes on", i+2))
					}
					x.write("a.log", "  ends\n10 next\n")
					want = append(want, fmt.Sprintf("%d begins\n  ends", copies+2))
					x.run().want(want...)
					x.settled()
					x.want(want...)
					require.Zero(t, x.value("otelcol_logcapture_gaps"))
					x.stop()
					x.run().settled()
					x.write("a.log", "11 last\n")
					x.want(append(want, "10 next")...)
				})
			}
		}
	}
}

// The log was empty when it was written, copied and truncated at once: what is in the copy was never seen in the log.
func TestEventGoesOnInACopyThatWasNeverSeenInItsLog(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Include = []string{x.path("a.log*")}
		x.settings.RotateWait = 3 * time.Second // the copy waits for it, and must not while this test makes it
		x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
		x.write("a.log", "1 first\n2 begins\n")
		x.run().want("1 first")
		x.settled()
		x.copyTruncate()
		again()
		x.write("tmp", "  goes on\n3 begins\n")
		x.rename("a.log.1", "a.log.2")
		x.rename("tmp", "a.log.1")
		x.want("1 first", "2 begins\n  goes on")
		x.write("a.log", "  ends\n4 next\n")
		x.want("1 first", "2 begins\n  goes on", "3 begins\n  ends")
	})
}

// The first records of the log are under way while it is copied and truncated: the copy hands back what is open before the log is known to be
// truncated.
func TestEventGoesOnInACopyThatIsFoundWhileItsLogIsFirstRead(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("a.log*")}
	x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	comes, goes := make(chan struct{}, 8), make(chan struct{})
	x.consumer.Answer(func(context.Context, plog.Logs) error {
		comes <- struct{}{}
		<-goes
		return nil
	})
	x.write("a.log", "1 first\n2 begins\n")
	x.run()
	<-comes
	x.write("tmp", "1 first\n2 begins\n")
	x.rename("tmp", "a.log.1")
	capturetest.WaitFor(t, "the log waits for its copy", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		return x.engine.logs[x.path("a.log")].waitsFor == 1
	})
	require.NoError(t, os.Truncate(x.path("a.log"), 0))
	close(goes)
	x.want("1 first")
	x.settled()
	x.write("a.log", "  goes on\n3 next\n")
	x.want("1 first", "2 begins\n  goes on")
}

// events joins lines that begin with a blank to the one before them.
func events(lines []string) (all []string) {
	for _, line := range lines {
		if strings.HasPrefix(line, " ") {
			all[len(all)-1] += "\n" + line
		} else {
			all = append(all, line)
		}
	}
	return all
}

// What is open in many files is more than is kept: of those whose text was left in the file it is read in the copy, or else is lost and told.
func TestOpenRecordsThatWereForgottenAreTruncatedAway(t *testing.T) {
	for _, copied := range []bool{true, false} {
		t.Run(fmt.Sprint("copied ", copied), func(t *testing.T) {
			x := newTail(t)
			x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
			x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
			const files, size = 50, 900 << 10
			body := "1 " + strings.Repeat("x", size)
			x.run()
			for i := range files {
				x.write(fmt.Sprintf("%d.log", i), body+"\n")
			}
			x.settled()
			for i := range files {
				name := fmt.Sprintf("%d.log", i)
				if copied {
					require.NoError(t, os.WriteFile(x.path(name+".1"), []byte(body+"\n"), 0o600))
				}
				require.NoError(t, os.Truncate(x.path(name), 0))
				x.write(name, "ends\n2 next\n")
			}
			capturetest.WaitFor(t, "all records", func() bool { return x.consumer.Len() == files })
			whole := 0
			for _, got := range x.consumer.Bodies() {
				if got == body+"\nends" {
					whole++
				}
			}
			if copied {
				require.Equal(t, files, whole)
			}
			require.Positive(t, whole)
			capturetest.WaitFor(t, "each gap is counted", func() bool { return x.value("otelcol_logcapture_gaps") >= int64(files-whole) })
			x.stop() // so that none is counted any more
			require.EqualValues(t, files-whole, x.value("otelcol_logcapture_gaps"))
			require.Equal(t, copied, files == whole, "some were forgotten")
		})
	}
}

func TestStreamsOfACRIFileInterleave(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Text.Format = lineformat.CRI
		x.run()
		x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "out-1 "))
		x.want("one")
		again()
		x.write("a.log", cri("stderr", "P", "err-1 ")+cri("stderr", "F", "whole in between"))
		x.want("one", "err-1 whole in between")
		again()
		x.write("a.log", cri("stdout", "P", "out-2 ")+cri("stderr", "F", "two")+cri("stdout", "F", "out-3"))
		x.want("one", "err-1 whole in between", "two", "out-1 out-2 out-3")
		again()
		records := x.consumer.Records()
		require.Len(t, records, 4)
		require.EqualValues(t, 1687429645813799277, records[0].Log.Timestamp())
		require.Equal(t, map[string]any{"log.file.name": "a.log", "log.iostream": "stderr"}, records[1].Log.Attributes().AsRaw())
	})
}

func TestMessageOfOneMegabyteInPieces(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Format = lineformat.CRI
	piece := strings.Repeat("0123456789abcdef", 1024)
	var text strings.Builder
	for range 63 {
		text.WriteString(cri("stdout", "P", piece))
		text.WriteString(cri("stderr", "F", "x"))
	}
	x.write("a.log", text.String()+cri("stdout", "F", piece))
	x.run()
	capturetest.WaitFor(t, "all", func() bool { return x.consumer.Len() == 64 })
	require.Equal(t, strings.Repeat(piece, 64), x.consumer.Bodies()[63])
}

func TestOrphanOfACRIFileIsFlushedWithAMark(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Format = lineformat.CRI
	x.settings.Text.FlushPeriod = 50 * time.Millisecond
	x.run()
	x.write("a.log", cri("stdout", "P", "orphan"))
	x.settled()
	x.rename("a.log", "a.log.1")
	x.wantMarked("orphan…")
	capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 0 })
	x.wantMarked("orphan…")
}

func TestLineOfACRIFileGoesOnInTheNextFile(t *testing.T) {
	for _, pattern := range []string{"*.log", "*.log*"} {
		for _, restart := range []string{"never", "before the rotation", "after the rotation", "with a new file"} {
			t.Run(pattern+" "+restart, func(t *testing.T) {
				x := newTail(t)
				x.settings.Include = []string{x.path(pattern)}
				x.settings.Text.Format = lineformat.CRI
				x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
				again := func(when string) {
					x.settled()
					if when == restart {
						x.stop()
						x.run().settled()
					}
				}
				x.run()
				x.write("0.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, ")+cri("stderr", "F", "two"))
				x.want("one", "two")
				again("before the rotation")
				x.rename("0.log", "0.log.20230622-102725")
				again("after the rotation")
				x.write("0.log", cri("stderr", "F", "three"))
				x.want("one", "two", "three")
				again("with a new file")
				x.write("0.log", cri("stdout", "F", "ends")+cri("stdout", "F", "four"))
				x.want("one", "two", "three", "begins, ends", "four")
				x.stop()
				x.run().settled()
				x.want("one", "two", "three", "begins, ends", "four")
			})
		}
	}
}

func TestRotatedWhileDownInsideOfALineOfACRIFile(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Format = lineformat.CRI
	x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
	x.write("0.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
	x.run().want("one")
	x.settled()
	x.stop()
	x.rename("0.log", "0.log.20230622-102725")
	x.write("0.log", cri("stdout", "F", "ends"))
	x.run().want("one", "begins, ends")
}

func TestDockerFile(t *testing.T) {
	docker := func(log, stream string) string {
		return fmt.Sprintf(`{"log":"%s","stream":"%s","attrs":{"tag":"x"},"time":"%s"}`+"\n", log, stream, testStamp)
	}
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Text.Format = lineformat.Docker
		x.run()
		x.write("a.log", docker(`\"quoted\"\t\u003c\u2028\ud83d\ude00\n`, "stdout"))
		x.write("a.log", docker(`begins, `, "stdout")+docker(`other\n`, "stderr"))
		x.want("\"quoted\"\t<\u2028😀", "other")
		again()
		x.write("a.log", `{"log":"corrupt`+"\n"+docker(`ends\n`, "stdout"))
		x.wantMarked("\"quoted\"\t<\u2028😀", "other", `!{"log":"corrupt`, "begins, ends")
	})
}

func TestCRIFileInAnotherEncoding(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Format = lineformat.CRI
	x.settings.Text.Encoding = encoding(t, "gbk")
	text := encoded(t, "gbk", "中文")
	x.write("a.log", cri("stdout", "P", text[:1])+cri("stdout", "F", text[1:])) // cut inside of a character
	x.run().want("中文")
}

func TestFormatIsFoundByTheLine(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Format = lineformat.Auto
	x.write("a.log", cri("stdout", "F", "cri")+`{"log":"docker\n","stream":"stderr","time":"`+testStamp+`"}`+"\n{\"json\":1}\nraw\n")
	x.run().wantMarked("cri", "docker", `{"json":1}`, "raw")
}

func TestEventsOfACRIFile(t *testing.T) {
	restarted(t, func(t *testing.T, x *tail, again func()) {
		x.settings.Text.Format = lineformat.CRI
		x.settings.RotateWait = time.Minute
		x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
		x.run()
		x.write("0.log", cri("stdout", "F", "1 out")+cri("stderr", "F", "1 err")+cri("stdout", "F", "  at"))
		again()
		x.write("0.log", cri("stderr", "P", "  a"))
		again()
		x.rename("0.log", "0.log.20230622-102725")
		again()
		x.write("0.log", cri("stderr", "F", "t")+cri("stdout", "F", "2")+cri("stdout", "F", "3 out"))
		again()
		x.write("0.log", cri("stderr", "F", "2 err"))
		x.want("1 out\n  at\n2", "1 err\n  at")
	})
}

func TestLineOfACRIFileThatIsTooLongIsTakenAsItIs(t *testing.T) {
	x := newTail(t)
	x.settings.MaxLogSize = 100
	x.settings.Text.Format = lineformat.CRI
	x.write("a.log", cri("stdout", "F", strings.Repeat("x", 250))+cri("stdout", "F", strings.Repeat("y", leastRawLine+1000))+cri("stdout", "F", "next"))
	x.run()
	capturetest.WaitFor(t, "the last line", func() bool { n := x.consumer.Len(); return n > 0 && x.consumer.Bodies()[n-1] == "next" })
	marked := x.marked()
	require.Equal(t, []string{strings.Repeat("x", 100) + "…", "…" + strings.Repeat("x", 100) + "…", "…" + strings.Repeat("x", 50)}, marked[:3])
	require.Equal(t, testStamp, strings.Trim(marked[3], "!…")[:len(testStamp)])
	require.Equal(t, leastRawLine+1000, strings.Count(strings.Join(marked[3:], ""), "y"))
}

func TestMemoryOfOpenRecordsIsBounded(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	const files, size = 80, 900 << 10
	line := strings.Repeat("x", 9<<10) + "\n"
	x.run()
	body := "1 " + strings.Repeat(line, size/len(line))
	for i := range files {
		x.write(fmt.Sprintf("%d.log", i), body)
	}
	x.settled()
	x.engine.mu.Lock()
	opens := x.engine.opens
	x.engine.mu.Unlock()
	require.LessOrEqual(t, opens, int64(x.engine.openLimit()))
	require.Greater(t, opens, int64(x.engine.openLimit())/2)
	for i := range files {
		x.write(fmt.Sprintf("%d.log", i), "ends\n2 next\n")
	}
	capturetest.WaitFor(t, "all records", func() bool { return x.consumer.Len() == files })
	for _, got := range x.consumer.Bodies() {
		require.True(t, body+"ends" == got, "length %d", len(got))
	}
}

func TestOpenRecordsThatWereForgottenAreFlushedInTime(t *testing.T) {
	x := newTail(t)
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.settings.Text.FlushPeriod = 200 * time.Millisecond
	const files, size = 50, 900 << 10
	x.run()
	body := "1 " + strings.Repeat("x", size)
	for i := range files { // in one step: half a line would be flushed too
		x.write("a.tmp", body+"\n")
		x.rename("a.tmp", fmt.Sprintf("%d.log", i))
	}
	capturetest.WaitFor(t, "all records", func() bool { return x.consumer.Len() == files })
	for _, got := range x.consumer.Bodies() {
		require.True(t, body == got, "length %d", len(got))
	}
}

// TestRandomRestartsOfACRIFile compares with what comes without a restart.
func TestRandomRestartsOfACRIFile(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a seed makes it the same again
	x := newTail(t)
	x.settings.Text.Format = lineformat.CRI
	x.settings.Include = []string{x.path("0.log*")}
	x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
	x.run()
	var want []string
	open := map[string]string{}
	for i := range 150 {
		stream := []string{"stdout", "stderr"}[r.IntN(2)]
		text, tag := fmt.Sprintf("%d,", i), "PF"[r.IntN(2):][:1]
		line := cri(stream, tag, text)
		torn := r.IntN(len(line))
		x.write("0.log", line[:torn])
		if r.IntN(4) == 0 {
			x.settled()
		}
		x.write("0.log", line[torn:])
		if open[stream] += text; tag == "F" {
			want = append(want, open[stream])
			open[stream] = ""
		}
		switch r.IntN(12) {
		case 0:
			x.stop()
			x.run()
		case 1:
			x.settled()
			x.rename("0.log", fmt.Sprintf("0.log.20230622-10%04d", i))
			if r.IntN(2) == 0 {
				x.settled()
			}
		case 2:
			x.settled()
		}
	}
	for stream, text := range open {
		x.write("0.log", cri(stream, "F", ""))
		if text != "" {
			want = append(want, text)
		}
	}
	capturetest.WaitFor(t, "the end of what is open", func() bool { return x.consumer.Len() >= len(want) })
	x.settled()
	got := x.consumer.Bodies()
	for stream, text := range open {
		if text == "" {
			require.Contains(t, got, "", "the end of %s", stream)
		}
	}
	require.ElementsMatch(t, want, compactEmpty(got))
}

func compactEmpty(all []string) (kept []string) {
	for _, text := range all {
		if text != "" {
			kept = append(kept, text)
		}
	}
	return kept
}

// What is open of a file is in memory, so it comes also when the file is deleted while it is closed.
func TestLastEventOfAFileThatIsDeletedWhileItIsClosed(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 1
	x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
	x.settings.Text.FlushPeriod = time.Minute
	x.write("a.log", "1 first\n2 last\n")
	x.run().want("1 first")
	x.settled()
	x.write("b.log", "no event\n3 takes the handle\n")
	x.want("1 first", "no event")
	x.settled()
	require.NoError(t, os.Remove(x.path("a.log")))
	x.want("1 first", "no event", "2 last")
	capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 1 })
	require.Zero(t, x.value("otelcol_logcapture_gaps"))
}

// What a file has left to the next one is not stored with that yet, because it cannot be delivered, and late text comes to the file.
func TestLateTextIsNotLostWhileWhatWasLeftToTheNextFileIsNotDelivered(t *testing.T) {
	for _, stream := range []string{"stdout", "stderr"} {
		t.Run(stream, func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.path("a.log*")}
			x.settings.Text.Format = lineformat.CRI
			x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
			x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
			x.run().want("one")
			x.readOut()
			x.rename("a.log", "a.log.2")
			x.settled()
			x.refuse()
			x.write("tmp", cri("stdout", "F", "ends"))
			x.rename("tmp", "a.log.1") // of a log that is looked beside the text would be stored before it is read
			x.settledBehindRefusal()
			x.write("a.log.2", cri(stream, "P", "late, "))
			x.readOutOf("a.log.2")
			x.stop()
			x.consumer.Answer(nil)
			x.settings.Text.FlushPeriod = 50 * time.Millisecond
			x.run()
			capturetest.WaitFor(t, "all text", func() bool {
				all := strings.Join(x.marked(), "")
				return strings.Contains(all, "begins, ") && strings.Contains(all, "ends") && strings.Contains(all, "late, ")
			})
			x.settled()
			all := strings.Join(x.marked(), "")
			for _, text := range []string{"begins, ", "ends", "late, "} {
				require.Equal(t, 1, strings.Count(all, text), "%q in %q", text, x.marked())
			}
		})
	}
}
