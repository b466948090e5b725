package filetail

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
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
