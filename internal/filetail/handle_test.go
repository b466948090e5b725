package filetail

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// A file may wait for room twice: it was touched and could not be opened again. When it is read at last, the next room is for another one.
func TestRoomGoesToAFileThatCanUseIt(t *testing.T) {
	e := New(nil, Settings{MaxOpenFiles: 1})
	taken, waiting := &file{reading: true}, &file{}
	e.handles.open, e.handles.waiting = 1, []*file{taken, waiting}
	e.unreserve()
	require.True(t, waiting.queued)
	require.Same(t, waiting, e.tryNext())
}

// Where there is room for all files that there are, none is closed.
func TestFilesStayOpenWhereThereIsRoomForAll(t *testing.T) {
	for _, files := range []int{1, 2} {
		t.Run(fmt.Sprint(files, " files"), func(t *testing.T) {
			x := newTail(t)
			x.settings.MaxOpenFiles = files
			x.write("a.log", "one\n")
			x.run().want("one")
			if files == 2 {
				x.write("b.log", "two\n")
				x.want("one", "two")
			}
			x.settled()
			require.EqualValues(t, files, x.engine.opened())
			x.write("a.log", "three\n")
			x.settled()
			require.EqualValues(t, files, x.engine.opened())
		})
	}
}

// A new log that is open waits for the one before it, which has to be opened first.
func TestMoreLogsAreRotatedThanCanBeOpen(t *testing.T) {
	for _, most := range []int{1, 2} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.dir + "/*.log*"}
			x.settings.MaxOpenFiles = most
			const logs, rounds = 6, 20
			x.run()
			n := 0
			for round := range rounds {
				for i := range logs {
					name := fmt.Sprintf("%d.log", i)
					x.write(name, fmt.Sprintf("%d-%d\n", i, 2*round+1))
					require.NoError(t, os.Rename(x.path(name), x.path(fmt.Sprintf("%s.%d", name, round))))
					x.write(name, fmt.Sprintf("%d-%d\n", i, 2*round+2))
					n += 2
				}
				capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= n })
			}
			x.readOut()
			require.Equal(t, n, x.consumer.Len())
			x.orderly(logs)
		})
	}
}

// A file that was renamed is waited for longer than this test could. Others are read meanwhile, and what still comes to it is read too.
func TestFileThatIsRenamedTakesNoHandleFromOthers(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 1
	x.settings.RotateWait = time.Hour
	x.run()
	x.write("a.log", "a\n")
	x.want("a")
	x.settled()
	writer, err := os.OpenFile(x.path("a.log"), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer writer.Close()
	x.rename("a.log", "aside")
	x.settled()
	x.write("b.log", "b\n")
	x.want("a", "b")
	x.write("c.log", "c\n")
	x.want("a", "b", "c")
	_, err = writer.WriteString("late\n")
	require.NoError(t, err)
	x.want("a", "b", "c", "late")
	x.settled()
	require.LessOrEqual(t, x.engine.opened(), int64(1))
	require.Zero(t, x.value("otelcol_logcapture_gaps"))
}
