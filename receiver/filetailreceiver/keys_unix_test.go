//go:build unix

package filetailreceiver

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestLockedFileIsReadWhenItsLockIsGivenBack(t *testing.T) {
	x := &rig{Consumer: &capturetest.Consumer{}, t: t, dir: t.TempDir()}
	x.write("a.log", "a\n")
	x.write("b.log", "b\n")
	other, err := os.Open(x.path("a.log"))
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX)) //nolint:gosec // a descriptor
	x.run(keys{"acquire_fs_lock": true, "reconcile_interval": "10ms"})
	x.wait("b")
	x.nothing()
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_UN)) //nolint:gosec // a descriptor
	x.wait("a", "b")
}
