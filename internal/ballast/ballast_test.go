package ballast

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBallastIsHeldWhileMuchIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGauge()
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.Run(ctx)
		}()
		// deliver adds bytes for so many tenths of a second.
		deliver := func(tenths, bytes int) bool {
			for range tenths {
				g.Add(bytes)
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
			return Held()
		}
		const enough = much * step / 10
		require.False(t, deliver(100, enough/2), "little, for long")
		require.False(t, deliver(20, 0))
		require.False(t, deliver(1, much*step), "much, for a moment")
		require.False(t, deliver(20, 0))
		require.True(t, deliver(5, 3*enough), "a busy time")
		require.True(t, deliver(100, 10*enough))
		require.True(t, deliver(15, 0), "a pause")
		require.True(t, deliver(20, 3*enough))
		require.False(t, deliver(45, 1), "little again")
		require.True(t, deliver(2, much*step), "a busy time that begins with a burst")
		cancel()
		<-done
		require.False(t, Held(), "the end")
	})
}

func TestBallastIsOfTheProcess(t *testing.T) {
	hold()
	hold()
	release()
	require.True(t, Held(), "one of two has a busy time still")
	release()
	require.False(t, Held())
}

// What is taken of Go's heap is set to zero as a whole where a part of it was in use, and that makes the kernel give memory for all of it.
func TestBallastIsNotTouched(t *testing.T) {
	const statm = "/proc/self/statm"
	if _, err := os.Stat(statm); err != nil {
		t.Skip("no /proc: resident memory is looked at on Linux")
	}
	resident := func() int {
		content, err := os.ReadFile(statm)
		require.NoError(t, err)
		pages, err := strconv.Atoi(strings.Fields(string(content))[1])
		require.NoError(t, err)
		return pages * os.Getpagesize()
	}
	use := func(size int) {
		const piece = 1 << 20
		var used [][]byte
		for range size / piece {
			used = append(used, bytes.Repeat([]byte{1}, piece))
		}
		runtime.KeepAlive(used)
	}
	use(4 * Size)
	debug.FreeOSMemory()
	use(Size / 4)
	runtime.GC()
	before := resident()
	hold()
	defer release()
	require.Less(t, resident()-before, Size/4)
}
