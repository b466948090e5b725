package storagecheckextension

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts the extension over a directory.
func start(t *testing.T, dir string) (*check, error) {
	t.Helper()
	settings := extension.Settings{ID: component.MustNewID("storage_check"), TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	ext, err := NewFactory().Create(t.Context(), settings, &Config{Directory: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ext.Shutdown(t.Context())) })
	return ext.(*check), ext.Start(t.Context(), componenttest.NewNopHost())
}

// store writes a value with the real file_storage; the client stays open until the test ends it.
func store(t *testing.T, dir string) (path string, closeIt func()) {
	t.Helper()
	host := capturetest.NewHost(t, dir)
	files := host.GetExtensions()[capturetest.StorageID].(storage.Extension)
	client, err := files.GetClient(t.Context(), component.KindReceiver, component.MustNewID("file_tail"), "")
	require.NoError(t, err)
	require.NoError(t, client.Set(t.Context(), "key", []byte("value")))
	return filepath.Join(dir, "receiver_file_tail_"), func() { require.NoError(t, client.Close(t.Context())) }
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestSoundDatabasesStay(t *testing.T) {
	dir := t.TempDir()
	_, end := store(t, dir)
	end()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "exporter_new_"), nil, 0o600))
	before := names(t, dir)
	ext, err := start(t, dir)
	require.NoError(t, err)
	require.Empty(t, ext.SetAside())
	require.Equal(t, before, names(t, dir))
}

func TestDamagedDatabaseIsSetAsideOnce(t *testing.T) {
	dir := t.TempDir()
	path, end := store(t, dir)
	end()
	require.NoError(t, os.Truncate(path, 9_000))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no database"), 0o600))
	ext, err := start(t, dir)
	require.NoError(t, err)
	require.Equal(t, []string{path}, ext.SetAside())
	require.NoFileExists(t, path)
	left, err := filepath.Glob(path + ".*" + suffix)
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.FileExists(t, filepath.Join(dir, "notes.txt"))

	again, err := start(t, dir)
	require.NoError(t, err)
	require.Empty(t, again.SetAside())
	require.FileExists(t, left[0])
}

func TestDatabaseInUseIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	path, end := store(t, dir)
	defer end()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, append(content[:0:0], make([]byte, len(content))...), 0o600))
	ext, err := start(t, dir)
	require.NoError(t, err)
	require.Empty(t, ext.SetAside())
	require.FileExists(t, path)
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

func TestDirectoryIsAsked(t *testing.T) {
	require.ErrorContains(t, (&Config{}).Validate(), "`directory`")
	_, err := start(t, filepath.Join(t.TempDir(), "not there yet"))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = start(t, file)
	require.ErrorContains(t, err, "`directory`")
}
