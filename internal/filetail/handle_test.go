package filetail

import (
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
