package filetailreceiver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// TestTenThousandFilesAndALimit: files that come in turn, and then grow all at once, are all read, while no more of them are open than
// may be.
func TestTenThousandFilesAndALimit(t *testing.T) {
	const files, limit = 10_000, 200
	dir := t.TempDir()
	consumer := &capturetest.Consumer{}
	config := testConfig(filepath.Join(dir, "*.log"))
	config.MaxOpenFiles = limit
	r := create(t, config, consumer)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	t.Cleanup(func() { _ = r.Shutdown(context.WithoutCancel(t.Context())) })
	// The list of open files is no snapshot: one may be in it that was closed for another which is in it too. What two lists in a row have was
	// open between them.
	most := 0
	look := func() {
		before, after := filesBelow(t, dir), filesBelow(t, dir)
		after = slices.DeleteFunc(after, func(path string) bool { return !slices.Contains(before, path) })
		most = max(most, len(after))
	}
	for round := range 2 {
		for i := range files {
			f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			require.NoError(t, err)
			_, err = fmt.Fprintf(f, "%d of file %d\n", round, i)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			if i%100 == 0 {
				look()
			}
		}
		capturetest.WaitFor(t, "a line of each file", func() bool { look(); return consumer.Len() >= (round+1)*files })
	}
	require.LessOrEqual(t, most, limit)
	require.Greater(t, most, limit/2, "files were looked at while they were open")
	capturetest.ShutDown(t, r)
	require.Empty(t, filesBelow(t, dir))
	seen := map[string]int{}
	for _, body := range consumer.Bodies() {
		seen[body]++
	}
	require.Len(t, seen, 2*files)
	require.Equal(t, 2*files, consumer.Len())
}
