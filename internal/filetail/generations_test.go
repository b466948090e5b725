package filetail

import (
	"container/list"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/lineformat"
)

// With two ways from each file to the next but one, there are more ways than could ever be gone.
func TestManyWaysFromOneGenerationToAnother(t *testing.T) {
	e := &Engine{handles: handles{idle: list.New()}, queue: newQueue()}
	files := make([]*file, 200)
	for i := range files {
		files[i] = &file{held: true}
		for _, before := range files[max(0, i-2):i] {
			e.linkLocked(before, files[i])
		}
	}
	require.True(t, files[0].precedes(files[199]))
	require.False(t, files[0].precedes(&file{}))
}

// A file that is in its first turn is found to have an older one before it. A worker has what is open in it.
func TestTextOfAnOlderFileStaysThereWhileTheNextOneIsRead(t *testing.T) {
	e := &Engine{handles: handles{idle: list.New()}, queue: newQueue(), Settings: Settings{Text: Text{Format: lineformat.CRI}}}
	left := lineformat.Open{At: -1, Text: []byte("begins, ")}
	older, read := &file{inherited: []lineformat.Open{left}, held: true}, &file{reading: true}
	e.chainLocked([]*file{older, read})
	require.Equal(t, 1, read.waitsFor)
	e.freeSuccessorsLocked(older, 1)
	require.Empty(t, read.inherited)
	require.Len(t, older.inherited, 1)
	require.Empty(t, older.heirs)
}

// Another file has taken over what was open in a log before, and is not stored yet, when the log is truncated with something open again.
func TestCopyHasWhatIsOpenInALogBesideWhatWasTakenOver(t *testing.T) {
	e := &Engine{cuts: make(chan struct{}, 1)}
	taken := lineformat.Open{At: -1, Text: []byte("taken over")}
	f := &file{begun: true, shrunk: true, heirs: []heir{{&file{}, []lineformat.Open{taken}}}, handed: []lineformat.Open{taken}}
	f.joiner = &lineformat.Joiner{Rules: &lineformat.Rules{Max: 100}}
	f.joiner.Add(lineformat.Entry{Text: []byte("begins, "), Partial: true}, 7, time.Now())
	f.place.open = f.openLines()
	e.truncatedLocked(f)
	require.True(t, f.past.opensHere())
	require.NotContains(t, f.past.open, "taken over")
}
