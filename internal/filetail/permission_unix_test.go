//go:build unix

package filetail

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestPermissionDeniedAndThenGranted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be someone else")
	}
	x := byEvents(t)
	require.NoError(t, os.Chown(x.dir, 65534, 65534))
	for dir := x.dir; strings.HasPrefix(dir, os.TempDir()+"/"); dir = dir[:strings.LastIndex(dir, "/")] {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	x.run().looked()
	x.write("a.tmp", "one\n")
	require.NoError(t, os.Chown(x.path("a.tmp"), 65534, 65534))
	require.NoError(t, os.Chmod(x.path("a.tmp"), 0))
	require.NoError(t, syscall.Seteuid(65534))
	t.Cleanup(func() { require.NoError(t, syscall.Seteuid(0)) })
	x.rename("a.tmp", "a.log")
	capturetest.WaitFor(t, "it was looked at", func() bool { return x.logged.FilterMessageSnippet("cannot be read").Len() > 0 })
	for range 10 { // more looks at it
		require.NoError(t, os.Chtimes(x.dir, time.Time{}, time.Now()))
		time.Sleep(5 * time.Millisecond)
	}
	require.Zero(t, x.consumer.Len())
	require.NoError(t, os.Chmod(x.path("a.log"), 0o644))
	x.want("one")
	require.Equal(t, 1, x.logged.FilterMessageSnippet("cannot be read").Len(), "one warning")
}
