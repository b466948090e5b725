//go:build linux

package filetail

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// A file that another has locked for itself is read when the lock is given back, and others meanwhile.
func TestLockedFileWaitsForItsLock(t *testing.T) {
	x := newTail(t)
	x.settings.Lock = true
	x.write("a.log", "locked\n")
	x.write("b.log", "free\n")
	other, err := os.Open(x.path("a.log"))
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	x.run().want("free")
	x.settled()
	x.want("free")
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_UN))
	x.want("free", "locked")
	// The engine gives its own lock back after each turn.
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
}

// After a reboot a device may have another number.
func TestNumberOfTheDeviceChanges(t *testing.T) {
	for _, tt := range []struct {
		name, after string
		want        []string
	}{
		{"the content goes on", "one\ntwo\nthree\n", []string{"one", "two", "three"}},
		{"another file is there", "other\nfile\n", []string{"one", "two", "other", "file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTail(t)
			x.write("a.log", "one\ntwo\n")
			x.run().want("one", "two")
			x.settled() // its position is stored
			x.engine.mu.Lock()
			p := x.engine.logs[x.path("a.log")].known
			// What an earlier boot would have stored.
			x.engine.Store.Delete(p.id.key())
			p.id.device += 7
			x.engine.Store.Put(p.id.key(), p.encode())
			x.engine.mu.Unlock()
			x.stop()
			require.NoError(t, os.WriteFile(x.path("a.log"), []byte(tt.after), 0o600))
			x.run().want(tt.want...)
			x.settled()
			x.want(tt.want...)
			x.stop()
			x.run().settled()
			x.want(tt.want...)
		})
	}
}

// One file with all that there is to do does not delay a thousand that get a line.
func TestHotFileDoesNotDelaySlowOnes(t *testing.T) {
	x := newTail(t)
	x.settings.ReconcileInterval, x.settings.PollInterval = time.Second, 200*time.Millisecond
	const slow, hot = 1000, 200_000
	text := strings.Repeat(strings.Repeat("h", 199)+"\n", hot)
	x.write("hot.log", "")
	for i := range slow {
		x.write(fmt.Sprintf("%d.log", i), "")
	}
	x.run().looked()
	x.settled()
	_, release := x.hold()
	x.write("hot.log", text)
	for i := range slow {
		x.write(fmt.Sprintf("%d.log", i), "slow\n")
	}
	capturetest.WaitFor(t, "all have their turn or wait for it", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		turns := 0
		for _, f := range x.engine.files {
			if f.queued || f.reading {
				turns++
			}
		}
		return turns == slow+1
	})
	release()
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == slow+hot })
	bodies := x.consumer.Bodies()
	last := 0
	for i, body := range bodies {
		if body == "slow" {
			last = i
		}
	}
	t.Logf("all %d slow files were read beside %d of %d lines of the hot one", slow, last-slow+1, hot)
	require.Less(t, last, hot/2)
}

// Ten thousand files that each get a line now and then. Each event of the kernel counts: nothing else tells of them here.
func TestTenThousandFilesWithALineEach(t *testing.T) {
	x := newTail(t)
	x.settings.ReconcileInterval, x.settings.PollInterval = never, 200*time.Millisecond
	const files, rounds = 10_000, 3
	for i := range files {
		x.write(fmt.Sprintf("%d.log", i), fmt.Sprintf("%d-1\n", i))
	}
	x.run()
	capturetest.WaitFor(t, "the first lines", func() bool { return x.consumer.Len() == files })
	used, began := processorTime(t), time.Now()
	for round := range rounds {
		for i := range files {
			x.write(fmt.Sprintf("%d.log", i), fmt.Sprintf("%d-%d\n", i, round+2))
		}
		capturetest.WaitFor(t, "the lines of the round", func() bool { return x.consumer.Len() == files*(round+2) })
	}
	t.Logf("%d lines, writing too, in %v and %v of processor", rounds*files, time.Since(began), processorTime(t)-used)
	x.orderly(files)
}
