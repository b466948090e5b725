package containerlogreceiver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// captured runs a container that writes these steps and ends, and returns what the receiver gave of it.
func captured(t *testing.T, spec dockertest.Spec, adjust func(*Config)) (stdout, stderr []string) {
	t.Helper()
	spec.Name = name(t)
	r := newRig(t, adjust)
	c := dockertest.Create(t, spec)
	r.start()
	c.Start()
	c.WaitExit(patience)
	r.awaitSettled(c.ID)
	r.stop()
	for _, record := range r.records(c.ID) {
		require.Equal(t, utf8.ValidString(record.Body), record.Log.Body().Type() == pcommon.ValueTypeStr, "what is no text is bytes: %.40q", record.Body)
		if stream, _ := record.Log.Attributes().Get("log.iostream"); stream.Str() == "stderr" {
			stderr = append(stderr, record.Body)
		} else {
			stdout = append(stdout, record.Body)
		}
	}
	return stdout, stderr
}

// awaitSettled waits until the stream of a container has come to its end.
func (r *rig) awaitSettled(id string) {
	r.t.Helper()
	f := r.receiver.(*containerLog).follower
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if c := f.get(id); c != nil {
			c.mu.Lock()
			settled := c.settled && c.stream == nil
			c.mu.Unlock()
			if settled {
				return
			}
		}
	}
	r.t.Fatalf("container %.12s is not read to its end", id)
}

func raw(stream string, parts ...string) script.Step {
	return script.Raw{Stream: stream, Data: []byte(strings.Join(parts, ""))}
}

// Row 4 and 5.
func TestBytesOfLinesAreKept(t *testing.T) {
	t.Parallel()
	inBothModes(t, testBytesOfLinesAreKept)
}

func testBytesOfLinesAreKept(t *testing.T) {
	t.Parallel()
	lines := []string{"", "cr\r", "nul\x00nul", " ", "  indented", "trailing \t ", "a\u2028b", "<>&", "bad \xff\xfe utf-8", "", "2026-11-23T14:00:00.123456789Z like a stamp"}
	text := strings.Join(lines, "\n") + "\n"
	for driver, want := range map[string][]string{
		"local":     lines,
		"json-file": strings.Split(strings.ReplaceAll(strings.Join(lines, "\n"), "\xff\xfe", "\ufffd\ufffd"), "\n"), // it stores no other bytes
	} {
		stdout, stderr := captured(t, dockertest.Spec{LogDriver: driver, Steps: []script.Step{raw("", text), raw(script.Stderr, "err\n")}}, nil)
		require.Equal(t, want, stdout, driver)
		require.Equal(t, []string{"err"}, stderr)
	}
	stdout, stderr := captured(t, dockertest.Spec{Steps: []script.Step{raw("", "out\n"), raw(script.Stderr, "err\n")}},
		func(c *Config) { c.Streams = []string{streamStdout} })
	require.Equal(t, []string{"out"}, stdout)
	require.Empty(t, stderr)
}

// Row 6 and 8, with both drivers and with a terminal.
func TestLongLinesArePutTogether(t *testing.T) {
	t.Parallel()
	inBothModes(t, testLongLinesArePutTogether)
}

func testLongLinesArePutTogether(t *testing.T) {
	t.Parallel()
	var lines []string
	for i, size := range []int{16_383, 16_384, 16_385, 32_768, 40_000, 1 << 20} {
		lines = append(lines, strings.Repeat(string(rune('a'+i)), size))
	}
	var steps []script.Step
	for _, line := range lines { // an argument of a command cannot be that long
		block := min(len(line), 1<<15)
		steps = append(steps, script.Raw{Data: []byte(line[:block]), Repeat: len(line) / block}, raw("", line[:len(line)%block], "\n"))
	}
	tty := append(slices.Clip(steps), raw("", "after\n", "no line feed"))
	steps = append(slices.Clip(steps), raw("", strings.Repeat("x", 20_000)), script.Wait{Millis: 50}, raw(script.Stderr, "amid\n"), raw("", "END\n"))
	want := append(append([]string{}, lines...), strings.Repeat("x", 20_000)+"END")
	for _, driver := range []string{"json-file", "local"} {
		stdout, stderr := captured(t, dockertest.Spec{LogDriver: driver, Steps: steps}, nil)
		requireTexts(t, want, stdout)
		require.Equal(t, []string{"amid"}, stderr)
	}
	stdout, _ := captured(t, dockertest.Spec{TTY: true, Steps: tty}, nil)
	requireTexts(t, append(append([]string{}, lines...), "after", "no line feed"), stdout)
}

// requireTexts compares long texts without printing them.
func requireTexts(t *testing.T, want, got []string) {
	t.Helper()
	ends := make([]string, 0, len(got))
	for _, text := range got {
		ends = append(ends, fmt.Sprintf("%d bytes ending in %q", len(text), text[max(0, len(text)-10):]))
	}
	require.Equal(t, len(want), len(got), "texts: %q", ends)
	for i := range want {
		require.True(t, want[i] == got[i], "text %d: %d bytes, want %d: %.40q", i, len(got[i]), len(want[i]), got[i])
	}
}

func TestLinesBeyondTheLimit(t *testing.T) {
	t.Parallel()
	inBothModes(t, testLinesBeyondTheLimit)
}

func testLinesBeyondTheLimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 5000)
	steps := []script.Step{raw("", long, "\nshort\n")}
	for behavior, want := range map[string][]string{
		behaviorSplit:    {long[:20_000], long[20_000:40_000], long[40_000:], "short"},
		behaviorTruncate: {long[:20_000], "short"},
	} {
		stdout, _ := captured(t, dockertest.Spec{Steps: steps}, func(c *Config) { c.MaxLogSize, c.MaxLogSizeBehavior = 20_000, behavior })
		requireTexts(t, want, stdout)
	}
}

func TestTextWithoutLineFeedAtTheEndOfRuns(t *testing.T) {
	t.Parallel()
	inBothModes(t, testTextWithoutLineFeedAtTheEndOfRuns)
}

func testTextWithoutLineFeedAtTheEndOfRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 1}, raw(script.Stderr, "err"), raw("", "open end"), script.Exit{},
	}})
	for range 3 {
		c.WaitExit(patience)
		c.Start()
	}
	c.WaitExit(patience)
	r.awaitLines(c.ID, 12)
	r.requireExact(c)
	r.stop()
}

// An engine ends the connection of a follower before it sends such text, also where it has sent all before long ago.
func TestTextWithoutLineFeedAtTheEndOfALongRun(t *testing.T) {
	t.Parallel()
	inBothModes(t, testTextWithoutLineFeedAtTheEndOfALongRun)
}

func testTextWithoutLineFeedAtTheEndOfALongRun(t *testing.T) {
	t.Parallel()
	for _, spec := range []dockertest.Spec{{LogDriver: "json-file"}, {LogDriver: "local"}, {TTY: true}} {
		spec.Steps = []script.Step{raw("", "first\n"), script.Wait{Millis: 1000}, raw("", "second\n"), script.Wait{Millis: 100}, raw("", "open end")}
		stdout, _ := captured(t, spec, nil)
		require.Equal(t, []string{"first", "second", "open end"}, stdout, "%+v", spec)
	}
}

func TestBinaryGarbageStopsNothing(t *testing.T) {
	t.Parallel()
	var garbage bytes.Buffer
	for i := range 60_000 {
		garbage.WriteByte(byte(i * i / 7))
	}
	stdout, _ := captured(t, dockertest.Spec{LogDriver: "local", Steps: []script.Step{script.Raw{Data: garbage.Bytes()}, raw("", "\nafter\n")}}, nil)
	requireTexts(t, strings.Split(garbage.String()+"\nafter", "\n"), stdout)
}
