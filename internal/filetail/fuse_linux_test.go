//go:build linux

package filetail

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// userspace mounts a directory a second time through a file system in user space, and returns where. The kernel tells there nothing of what is
// written to the directory itself.
func userspace(t *testing.T, dir string) (mounted string, unmount func()) {
	t.Helper()
	bindfs, err := exec.LookPath("bindfs")
	if err != nil {
		t.Skip("no bindfs")
	}
	mounted = t.TempDir()
	// With its caches it serves bytes of one file as those of another, for up to a second, when files are renamed behind its back.
	server := exec.Command(bindfs, "-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0,direct_io", dir, mounted)
	require.NoError(t, server.Start())
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for deadline := time.Now().Add(capturetest.Patience); tellsChanges(mounted); time.Sleep(time.Millisecond) {
		select {
		case err := <-ended:
			t.Skip("file systems in user space cannot be mounted: ", err)
		default:
			require.True(t, time.Now().Before(deadline), "it is mounted")
		}
	}
	unmount = sync.OnceFunc(func() {
		out, err := exec.Command("umount", mounted).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, <-ended)
	})
	t.Cleanup(unmount)
	return mounted, unmount
}

// What others write to a file system in user space is found by polling, through rotations, and after a restart and a new mount.
func TestFileSystemInUserSpaceIsPolled(t *testing.T) {
	for _, byPath := range []bool{false, true} {
		t.Run(fmt.Sprint("by path ", byPath), func(t *testing.T) {
			x := byEvents(t)
			mounted, unmount := userspace(t, x.dir)
			t.Cleanup(func() { x.stop() }) // before it is unmounted
			x.settings.ByPath = byPath
			x.settings.ReconcileInterval = 50 * time.Millisecond
			x.settings.RotateWait = time.Minute
			x.settings.Include = []string{mounted + "/*.log"}
			var want []string
			x.generation(&want, "a.log", 1, 100) // in the directory itself
			x.run().looked()
			require.EqualValues(t, 0, x.modes("notify"))
			require.EqualValues(t, 1, x.modes("poll"))
			x.want(want...)
			next := 101
			for range 5 {
				x.generation(&want, "a.log", next, next+99)
				x.want(want...)
				x.rename("a.log", "a.log.1")
				x.generation(&want, "a.log", next+100, next+149)
				x.want(want...)
				x.copyTruncate()
				x.generation(&want, "a.log", next+150, next+199)
				x.want(want...)
				next += 200
			}
			x.stop()
			unmount()
			x.generation(&want, "a.log", next, next+99)
			again, unmountAgain := userspace(t, x.dir)
			require.NoError(t, os.Remove(mounted))
			require.NoError(t, os.Symlink(again, mounted)) // the same path
			x.run().want(want...)
			capturetest.WaitFor(t, "it is polled", func() bool { return x.modes("poll") > 0 })
			x.settled()
			x.want(want...)
			x.stop()
			unmountAgain()
		})
	}
}
