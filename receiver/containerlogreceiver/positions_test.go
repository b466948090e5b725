package containerlogreceiver

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/checkpoint"
	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver/internal/metadata"
)

// positions returns what the storage has while the receiver is down, by key.
func (r *rig) positions() map[string][]byte {
	r.t.Helper()
	client, err := r.host.GetExtensions()[capturetest.StorageID].(storage.Extension).GetClient(
		r.t.Context(), component.KindReceiver, component.NewID(metadata.Type), "")
	require.NoError(r.t, err)
	defer func() { require.NoError(r.t, client.Close(r.t.Context())) }()
	loaded, err := checkpoint.New(checkpoint.Settings{Client: client, Format: dockerstream.PositionFormat}).Load(r.t.Context())
	require.NoError(r.t, err)
	return loaded
}

// Containers that come and go leave no position, whether they are removed under the receiver or while it is down, and the file of the
// positions stays as large as for those that are there at one time. LOGCAPTURE_LONG=1 is 100,000 of them, which would take a real
// engine hours: the imitated one lists, tells and removes them as Docker does.
func TestManyShortLivedContainersLeaveABoundedStore(t *testing.T) {
	t.Parallel()
	const atOnce = 100
	waves := 10
	if long() {
		waves = 1000
	}
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, nil)
	dir := t.TempDir()
	r.host = capturetest.NewHost(t, dir)
	all := make([]*fakeContainer, atOnce)
	begin := time.Now()
	for wave := range waves {
		if wave%10 == 0 {
			r.start()
			awaitUp(r)
		}
		for i := range all {
			all[i] = e.run(&fakeContainer{log: []fakeRecord{{at: time.Now(), text: "line\n"}}})
		}
		waitFor(t, "a line of each", func() bool { return r.consumer.Len() == (wave+1)*atOnce })
		last := wave%10 == 9
		if last { // these are removed while nobody looks
			r.stop()
			require.Len(t, r.positions(), atOnce+1) // and the first start
		}
		for _, c := range all {
			e.end(c, "exited")
			e.remove(c)
		}
		if !last {
			f := r.receiver.(*containerLog).follower
			waitFor(t, "all are let go", func() bool { return len(f.all()) == 0 })
		}
	}
	r.start()
	awaitUp(r)
	r.stop()
	require.Equal(t, []string{firstStartKey("FAKE")}, slices.Collect(maps.Keys(r.positions())))
	files, err := filepath.Glob(filepath.Join(dir, "receiver_*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	info, err := os.Stat(files[0])
	require.NoError(t, err)
	t.Logf("%d containers in %s: the store has %d KiB", waves*atOnce, time.Since(begin).Round(time.Second), info.Size()>>10)
	require.LessOrEqual(t, info.Size(), int64(1<<20))
}
