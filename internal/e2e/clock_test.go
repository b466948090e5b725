//go:build linux && amd64

package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clock is the time of day as one process sees it. It is set as the system's clock is: at once, and without a change of the monotonic
// time. Timestamps that the kernel and other processes make stay as they are.
//
// The Go runtime asks the vDSO, which is code of the kernel in the memory of the process. Its function is made to jump to code behind it
// that asks the kernel itself and adds an offset.
type clock struct {
	memory *os.File
	offset int64 // where the offset is
}

// clockCode is the function clock_gettime(edi, rsi), and behind it, at a multiple of 8 bytes, the offset in seconds.
var clockCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall, which keeps rdi and rsi
	0x85, 0xff, // test edi, edi
	0x75, 0x0a, // jne to ret, unless it is CLOCK_REALTIME
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [rip+6], the offset
	0x48, 0x01, 0x0e, // add [rsi], rcx, the seconds
	0xc3,       // ret
	0xcc, 0xcc, // up to a multiple of 8
	0, 0, 0, 0, 0, 0, 0, 0,
}

// newClock takes the clock of a process that runs. It is gone with the process.
func newClock(t *testing.T, c *collector) *clock {
	t.Helper()
	c.signal(syscall.SIGSTOP)
	defer c.signal(syscall.SIGCONT)
	proc := filepath.Join("/proc", strconv.Itoa(c.pid()))
	base, image := vdso(t, proc)
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	entry := int64(0)
	for _, symbol := range symbols {
		if symbol.Name == "__vdso_clock_gettime" {
			entry = int64(symbol.Value)
		}
	}
	// What is behind the end of the image, in its last page, is nobody's.
	free := (len(bytes.TrimRight(image, "\x00")) + 64) &^ 7
	if entry == 0 || free+len(clockCode) > len(image) {
		t.Skipf("NOT TESTED: no room in a vDSO of %d bytes, its function is at %d", len(image), entry)
	}
	memory, err := os.OpenFile(filepath.Join(proc, "mem"), os.O_RDWR, 0)
	if err != nil {
		t.Skipf("NOT TESTED: the memory of another process cannot be written here: %v", err)
	}
	t.Cleanup(func() { _ = memory.Close() })
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(int64(free)-entry-5))
	awaitOutside(t, c, proc, base+entry, len(jump))
	for at, code := range map[int64][]byte{base + int64(free): clockCode, base + entry: jump} {
		if _, err := memory.WriteAt(code, at); err != nil {
			t.Skipf("NOT TESTED: the memory of another process cannot be written here: %v", err)
		}
	}
	return &clock{memory: memory, offset: base + int64(free+len(clockCode)-8)}
}

// vdso returns where the vDSO of a process is, and what is there.
func vdso(t *testing.T, proc string) (base int64, image []byte) {
	t.Helper()
	maps, err := os.ReadFile(filepath.Join(proc, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		var end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &base, &end); err != nil {
			t.Fatal(err)
		}
		memory, err := os.Open(filepath.Join(proc, "mem"))
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		image = make([]byte, end-base)
		if _, err := memory.ReadAt(image, base); err != nil {
			t.Fatal(err)
		}
		return base, image
	}
	t.Skip("NOT TESTED: a process has no vDSO here")
	return 0, nil
}

// awaitOutside waits until all threads of the process are stopped, and none within the code that is to be replaced.
func awaitOutside(t *testing.T, c *collector, proc string, from int64, length int) {
	t.Helper()
	eventually(t, readyLimit, "threads that are stopped elsewhere", func() string {
		tasks, err := filepath.Glob(filepath.Join(proc, "task", "*", "syscall"))
		if err != nil || len(tasks) == 0 {
			return fmt.Sprint("no threads: ", err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				return err.Error()
			}
			fields := strings.Fields(string(text))
			if len(fields) < 3 {
				return task + ": " + string(text) // running
			}
			pc, err := strconv.ParseInt(fields[len(fields)-1], 0, 64)
			if err != nil {
				return err.Error()
			}
			if pc > from && pc < from+int64(length) {
				c.signal(syscall.SIGCONT)
				c.signal(syscall.SIGSTOP)
				return "one is within"
			}
		}
		return ""
	})
}

// set makes the clock differ from the system's by that much.
func (c *clock) set(t *testing.T, difference time.Duration) {
	t.Helper()
	seconds := binary.LittleEndian.AppendUint64(nil, uint64(int64(difference/time.Second)))
	if _, err := c.memory.WriteAt(seconds, c.offset); err != nil {
		t.Fatal(err)
	}
}

// TestClockSetUnderTheCollectorCostsNothing: the clock is set by a day in either direction while lines are captured, while the backend is
// away, and while the collector is down. Waits are as long as before: nothing stands still for a day.
func TestClockSetUnderTheCollectorCostsNothing(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 500)
	now := newClock(t, c.col)
	for _, difference := range []time.Duration{24 * time.Hour, -24 * time.Hour, 0} {
		c.sink.stop()
		c.goesOn(t, 200)
		before := len(c.sink.all())
		now.set(t, difference)
		c.goesOn(t, 200)
		c.sink.start(t)
		captured(t, c.lines, 1000)
		eventually(t, completionLimit, fmt.Sprintf("lines observed by a clock that differs by %v", difference), func() string {
			if slices.ContainsFunc(c.sink.all()[before:], func(r record) bool {
				return (time.Until(r.observed) - difference).Abs() < time.Hour
			}) {
				return ""
			}
			return "none"
		})
	}
	now.set(t, 24*time.Hour)
	captured(t, c.lines, 500)
	c.col.stop(stopLimit)
	c.col.start() // with the system's clock
	captured(t, c.lines, 500)
	newClock(t, c.col).set(t, -24*time.Hour)
	captured(t, c.lines, 500)
	c.end(t)
	c.lines.exact(t)
}
