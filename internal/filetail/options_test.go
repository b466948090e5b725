package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestDeletedAfterReadOnlyWhenDelivered(t *testing.T) {
	x := newTail(t)
	x.settings.Delete = true
	x.settings.Compression = CompressionAuto
	var open atomic.Bool
	x.consumer.Answer(func(context.Context, plog.Logs) error {
		if open.Load() {
			return nil
		}
		return errors.New("refused")
	})
	x.write("a.log", "one\ntwo, without end")
	x.write("b.log", string(packed(t, CompressionGzip, "three\n")))
	x.write("empty.log", "")
	x.run().settledBehindRefusal()
	time.Sleep(3 * x.settings.RotateWait)
	require.FileExists(t, x.path("a.log"))
	require.FileExists(t, x.path("b.log"))
	open.Store(true)
	for _, name := range []string{"a.log", "b.log"} {
		capturetest.WaitFor(t, "the file is deleted", func() bool { _, err := os.Stat(x.path(name)); return os.IsNotExist(err) })
	}
	require.ElementsMatch(t, []string{"one", "two, without end", "three"}, x.consumer.Bodies())
	require.FileExists(t, x.path("empty.log"))
}

func TestTruncatedFileIsSkippedByOption(t *testing.T) {
	x := newTail(t)
	x.settings.ReadNew = true
	x.write("a.log", "old 1\nold 2\nold 3\n")
	x.run().want("old 1", "old 2", "old 3")
	// In one step: what is written behind a truncation that was seen already is new.
	require.NoError(t, os.Truncate(x.path("a.log"), int64(len("old 1\n"))))
	x.settled()
	x.settled()
	x.write("a.log", "new\n")
	x.want("old 1", "old 2", "old 3", "new")
	x.stop()
	require.NoError(t, os.WriteFile(x.path("a.log"), []byte("skipped\n"), 0o600))
	x.run().settled()
	x.settled()
	x.write("a.log", "newer\n")
	x.want("old 1", "old 2", "old 3", "new", "newer")
}

func TestFilesByTheirPath(t *testing.T) {
	x := newTail(t)
	x.settings.ByPath = true
	x.settings.RotateWait = time.Minute // what is rotated is found beside the new file, however late that comes
	x.write("a.log", "one\n")
	x.run().want("one")
	x.write("a.log", "two\n")
	x.want("one", "two")
	x.stop()
	// The inode is another one, the content is the same and more.
	content, err := os.ReadFile(x.path("a.log"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(x.path("a.log")))
	x.write("b.tmp", "")
	x.write("a.log", string(content)+"three\n")
	x.run().want("one", "two", "three")
	// Rotated by renaming: the tail is found beside it by its content.
	x.write("a.log", "four\n")
	x.rename("a.log", "a.log.1")
	x.write("a.log", "five\n")
	capturetest.WaitFor(t, "the lines", func() bool { return x.consumer.Len() == 5 })
	require.Equal(t, "five", x.consumer.Bodies()[4])
}

func TestCompressedFileThatIsWrittenSlowly(t *testing.T) {
	for _, kind := range []string{CompressionGzip, CompressionZstd} {
		t.Run(kind, func(t *testing.T) {
			x := newTail(t)
			x.settings.Compression = CompressionAuto
			text, want := lines("line", 1, 3000)
			content := packed(t, kind, text)
			x.run()
			for i := range 8 {
				x.write("a.log", string(content[i*len(content)/8:(i+1)*len(content)/8]))
				time.Sleep(20 * time.Millisecond)
			}
			capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= len(want) })
			require.True(t, slices.Equal(want, x.consumer.Bodies()))
			x.settled()
			x.stop()
			x.run().settled()
			require.Len(t, x.consumer.Bodies(), len(want))
			x.write("a.log", string(packed(t, kind, "appended\n")))
			capturetest.WaitFor(t, "the appended part", func() bool { return x.consumer.Len() == len(want)+1 })
		})
	}
}

func TestCorruptCompressedFileHarmsNoOther(t *testing.T) {
	x := newTail(t)
	x.settings.Compression = CompressionAuto
	text, _ := lines("line", 1, 5000)
	content := packed(t, CompressionGzip, text)
	for i := range 20 {
		content[len(content)/2+i] ^= 0x5a
	}
	x.write("a.log", string(content))
	x.write("b.log", string(packed(t, CompressionGzip, "whole\n")))
	x.run()
	capturetest.WaitFor(t, "the other file", func() bool { return slices.Contains(x.consumer.Bodies(), "whole") })
	x.write("c.log", "plain\n")
	capturetest.WaitFor(t, "the plain file", func() bool { return slices.Contains(x.consumer.Bodies(), "plain") })
}

func TestManyShortLivedFilesLeaveABoundedStore(t *testing.T) {
	x := newTail(t)
	x.settings.RotateWait = 50 * time.Millisecond // all is read before it is deleted
	x.run().looked()
	const files = 2000
	for i := range files {
		name := fmt.Sprintf("%d.log", i)
		x.write(name, name+"\n")
		if i%100 == 99 {
			capturetest.WaitFor(t, "the lines", func() bool { return x.consumer.Len() == i+1 })
			for j := i - 99; j <= i; j++ {
				require.NoError(t, os.Remove(x.path(fmt.Sprintf("%d.log", j))))
			}
		}
	}
	capturetest.WaitFor(t, "all are let go", func() bool { return x.engine.watched() == 0 })
	x.stop()
	x.run().looked()
	x.engine.mu.Lock()
	defer x.engine.mu.Unlock()
	require.Empty(t, x.engine.stored)
}
