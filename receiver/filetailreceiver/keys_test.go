package filetailreceiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/receiver/filetailreceiver/internal/metadata"
)

type keys = map[string]any

// rig is a receiver with keys as from YAML, over the logs of a directory.
type rig struct {
	*capturetest.Consumer
	t   *testing.T
	dir string
}

func (x *rig) path(name string) string { return filepath.Join(x.dir, name) }

// write appends to a file.
func (x *rig) write(name, text string) {
	x.t.Helper()
	f, err := os.OpenFile(x.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(x.t, err)
	_, err = f.WriteString(text)
	require.NoError(x.t, err)
	require.NoError(x.t, f.Close())
}

// run starts the receiver, which ends with the test.
func (x *rig) run(set keys) {
	x.t.Helper()
	all := keys{"include": []any{x.path("*.log")}, "start_at": "beginning"}
	for key, value := range set {
		all[key] = value
	}
	config, err := configOf(x.t, all)
	require.NoError(x.t, err)
	r, err := NewFactory().CreateLogs(x.t.Context(), receivertest.NewNopSettings(metadata.Type), config, x)
	require.NoError(x.t, err)
	require.NoError(x.t, r.Start(x.t.Context(), componenttest.NewNopHost()))
	x.t.Cleanup(func() { require.NoError(x.t, r.Shutdown(context.WithoutCancel(x.t.Context()))) })
}

// wait waits until the bodies have come, in any order, and nothing else.
func (x *rig) wait(bodies ...string) {
	x.t.Helper()
	capturetest.WaitFor(x.t, "the lines", func() bool { return x.Len() >= len(bodies) })
	require.ElementsMatch(x.t, bodies, x.Bodies())
}

// nothing checks that nothing more comes for a while.
func (x *rig) nothing() {
	x.t.Helper()
	before := x.Len()
	time.Sleep(300 * time.Millisecond)
	require.Equal(x.t, before, x.Len())
}

// keepWriting appends lines until one comes that begins with the text, and returns what came before it.
func (x *rig) keepWriting(name, text string) []string {
	x.t.Helper()
	first := -1
	for i := 0; first < 0; i++ {
		require.Less(x.t, i, 3000, "nothing comes")
		x.write(name, fmt.Sprintf("%s %d\n", text, i))
		time.Sleep(20 * time.Millisecond)
		first = slices.IndexFunc(x.Bodies(), func(body string) bool { return strings.HasPrefix(body, text) })
	}
	return x.Bodies()[:first]
}

// keysOfFiles are keys that say which files are read, and how, each with what shows its effect.
var keysOfFiles = []struct {
	keys keys
	show func(x *rig, set keys)
}{
	{keys{"exclude": []any{"**/b.log"}}, func(x *rig, set keys) {
		x.run(set)
		x.wait("a")
	}},
	{keys{"exclude_older_than": "1h"}, func(x *rig, set keys) {
		past := time.Now().Add(-2 * time.Hour)
		require.NoError(x.t, os.Chtimes(x.path("b.log"), past, past))
		x.run(set)
		x.wait("a")
	}},
	{keys{"start_at": "end"}, func(x *rig, set keys) {
		x.run(set)
		require.Empty(x.t, x.keepWriting("a.log", "new"))
	}},
	{keys{"discovery": "poll", "poll_interval": "10ms", "reconcile_interval": "1h"}, func(x *rig, set keys) {
		x.run(set)
		x.wait("a", "b")
		x.write("a.log", "polled\n")
		x.wait("a", "b", "polled")
	}},
	{keys{"discovery": "poll", "poll_interval": "1h", "reconcile_interval": "1h"}, func(x *rig, set keys) {
		x.run(set)
		x.wait("a", "b")
		x.write("a.log", "not looked for\n")
		x.nothing()
	}},
	{keys{"discovery": "poll", "poll_interval": "1h", "reconcile_interval": "10ms"}, func(x *rig, set keys) {
		x.run(set)
		x.wait("a", "b")
		x.write("a.log", "reconciled\n")
		x.wait("a", "b", "reconciled")
	}},
	{keys{"rotate_wait": "10ms"}, func(x *rig, set keys) {
		x.run(set)
		x.write("a.log", "unfinished")
		x.wait("a", "b")
		require.NoError(x.t, os.Rename(x.path("a.log"), x.path("a.old")))
		x.wait("a", "b", "unfinished")
	}},
	{keys{"rotate_wait": "1h"}, func(x *rig, set keys) {
		x.run(set)
		x.write("a.log", "unfinished")
		x.wait("a", "b")
		require.NoError(x.t, os.Rename(x.path("a.log"), x.path("a.old")))
		x.nothing()
	}},
	{keys{"identity": "path"}, func(x *rig, set keys) {
		require.NoError(x.t, os.Link(x.path("a.log"), x.path("c.log")))
		x.run(set)
		x.wait("a", "a", "b")
	}},
	{keys{"compression": "gzip"}, func(x *rig, set keys) {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write([]byte("packed\n"))
		require.NoError(x.t, err)
		require.NoError(x.t, w.Close())
		for _, name := range []string{"a.log", "b.log"} {
			require.NoError(x.t, os.WriteFile(x.path(name), packed.Bytes(), 0o600))
		}
		x.run(set)
		x.wait("packed", "packed")
	}},
	{keys{"on_truncate": "read_new"}, func(x *rig, set keys) {
		x.write("a.log", "second\n")
		x.run(set)
		x.wait("a", "second", "b")
		require.NoError(x.t, os.Truncate(x.path("a.log"), int64(len("a\n"))))
		require.Len(x.t, x.keepWriting("a.log", "new"), 3, "what was left is skipped")
	}},
	{keys{"delete_after_read": true, "rotate_wait": "10ms"}, func(x *rig, set keys) {
		x.run(set)
		for _, name := range []string{"a.log", "b.log"} {
			capturetest.WaitFor(x.t, name+" is deleted", func() bool { _, err := os.Stat(x.path(name)); return os.IsNotExist(err) })
		}
		x.wait("a", "b")
	}},
}

func TestEveryKeyOfFilesHasItsEffect(t *testing.T) {
	for _, tt := range keysOfFiles {
		t.Run(fmt.Sprint(tt.keys), func(t *testing.T) {
			x := &rig{Consumer: &capturetest.Consumer{}, t: t, dir: t.TempDir()}
			x.write("a.log", "a\n")
			x.write("b.log", "b\n")
			tt.show(x, tt.keys)
		})
	}
}

// keysElsewhere are tested by a test of their own.
var keysElsewhere = map[string]string{
	"include":                    "TestEveryKeyOfFilesHasItsEffect",
	"max_open_files":             "TestTenThousandFilesAndALimit",
	"acquire_fs_lock":            "TestLockedFileIsReadWhenItsLockIsGivenBack",
	"storage":                    "TestThousandStartsAndShutdowns",
	"shutdown_grace":             "TestShutdownWhileADeliveryDoesNotEnd",
	"retry_on_failure":           "TestConsumeContract",
	"max_inflight_bytes":         "TestSharedConfigKeysAreRead",
	"add_metadata_from_filepath": "TestEveryKeyOfFileAttributesWorks",
}

func TestEveryKeyIsDocumentedAndTested(t *testing.T) {
	tested := keysInTests(t)
	for _, tt := range keysOfFiles {
		for key := range tt.keys {
			tested[key] = true
		}
	}
	capturetest.RequireKeys(t, reflect.TypeFor[Config](), tested, keysElsewhere)
}

// keysInTests returns the keys of the maps in the tests of lines and attributes.
func keysInTests(t *testing.T) map[string]bool {
	set := map[string]bool{}
	for _, f := range capturetest.TestFunctions(t) {
		if !strings.HasPrefix(f.Name.Name, "TestEveryKeyOf") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if pair, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := pair.Key.(*ast.BasicLit); ok && key.Kind == token.STRING {
					set[strings.Trim(key.Value, `"`)] = true
				}
			}
			return true
		})
	}
	return set
}

// keysOfFileLog are those of file_log in version 0.160 of the contrib distribution: of its README, and of the structs behind it.
var keysOfFileLog = strings.Fields(`
include exclude exclude_older_than start_at multiline force_flush_period encoding preserve_leading_whitespaces preserve_trailing_whitespaces
include_file_name include_file_path include_file_name_resolved include_file_path_resolved include_file_owner_name include_file_owner_group_name
include_file_permissions include_file_record_number include_file_record_offset poll_interval fingerprint_size initial_buffer_size max_log_size
max_log_size_behavior max_concurrent_files max_batches delete_after_read acquire_fs_lock file_cache_advise skip_unmodified_files attributes
resource operators storage header retry_on_failure ordering_criteria compression polls_to_archive on_truncate id type output`)

// TestEveryKeyOfFileLogIsInTheTable looks at the README: who comes from file_log finds each key, and a key of the same name is a key here.
func TestEveryKeyOfFileLogIsInTheTable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(readme), "## Keys of file_log")
	require.True(t, ok)
	ours := capturetest.Keys(reflect.TypeFor[Config]())
	for _, key := range keysOfFileLog {
		i := strings.Index(table, "`"+key+"`")
		if i < 0 && strings.HasPrefix(key, "include_file_") {
			i = strings.Index(table, "`include_file_*`")
		}
		require.GreaterOrEqual(t, i, 0, "the table does not have %s", key)
		row, _, _ := strings.Cut(table[i:], "\n")
		_, here, _ := strings.Cut(row, " | ")
		require.Equal(t, slices.Contains(ours, key), !strings.HasPrefix(here, "Not there"), "%s: %s", key, here)
	}
}
