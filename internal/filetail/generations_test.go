package filetail

import (
	"container/list"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
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

// The oldest of some generations that nothing was read of yet, and that is not open, is compressed: while that is done the compressed file is the one
// that was changed last.
func TestOldestGenerationIsCompressedBeforeAnyIsRead(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("busy-*.log"), x.path("a.log*")}
	x.settings.Compression = CompressionAuto
	x.settings.MaxOpenFiles = workers()
	x.run()
	release := x.occupy()
	var want []string
	names := []string{"a.log.3", "a.log.2", "a.log.1", "a.log"}
	for i, name := range names {
		x.generation(&want, name, 10*i+1, 10*i+10)
		changed := time.Now().Add(time.Duration(i-10) * time.Minute)
		require.NoError(t, os.Chtimes(x.path(name), changed, changed))
	}
	for _, name := range names {
		x.followed(name)
	}
	x.settledBehindRefusal()
	text, _ := lines("l", 1, 10)
	data := packed(t, CompressionGzip, text)
	x.write("a.log.3.gz", string(data[:len(data)/2]))
	x.followed("a.log.3.gz")
	x.settledBehindRefusal()
	x.write("a.log.3.gz", string(data[len(data)/2:]))
	info, err := os.Stat(x.path("a.log.3"))
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(x.path("a.log.3.gz"), info.ModTime(), info.ModTime()))
	require.NoError(t, os.Remove(x.path("a.log.3")))
	x.settledBehindRefusal()
	release()
	var got []string
	capturetest.WaitFor(t, "all lines of the log", func() bool {
		got = nil
		for _, body := range x.consumer.Bodies() {
			if strings.HasPrefix(body, "l-") {
				got = append(got, body)
			}
		}
		return len(got) >= len(want)
	})
	require.Equal(t, want, got)
}

// The older one of two generations is renamed between the listing of a look and the look at its name. So it is with the younger one alone that the look
// would end.
func TestOlderGenerationIsRenamedPastTheLook(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("none.log")}
	x.run().looked()
	d := &discovery{Engine: x.engine, slipped: make(map[string]bool), warned: make(map[string]bool), first: true}
	dir := newDirectory(nil, x.dir, nil)
	for _, p := range newPatterns(x.path("a.log*")) {
		dir.states = append(dir.states, state{p, len(p.segments) - 1})
	}
	var want []string
	x.generation(&want, "a.log.1", 1, 100)
	x.generation(&want, "a.log", 101, 200)
	names, err := dir.names()
	require.NoError(t, err)
	require.Equal(t, []string{"a.log", "a.log.1"}, names)
	d.lookAt(dir, "a.log")
	x.rename("a.log.1", "a.log.2")
	d.lookAt(dir, "a.log.1")
	d.settle()
	require.EqualValues(t, 2, x.engine.watched())
	x.want(want...)
}
