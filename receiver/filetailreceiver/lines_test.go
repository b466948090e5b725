package filetailreceiver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/receiver/filetailreceiver/internal/metadata"
)

// configOf reads keys as from YAML.
func configOf(t *testing.T, keys map[string]any) (*Config, error) {
	t.Helper()
	config := createDefaultConfig().(*Config)
	all := map[string]any{"include": []any{"/nothing/*.log"}}
	maps.Copy(all, keys)
	if err := confmap.NewFromStringMap(all).Unmarshal(config); err != nil {
		return nil, err
	}
	return config, confmap.Validate(config)
}

func TestWrongKeysOfLinesAndAttributesAreNamed(t *testing.T) {
	for _, tt := range []struct {
		keys keys
		want string
	}{
		{keys{"max_log_size": 3}, "`max_log_size` must be between 4 and 1073741824, it is 3"},
		{keys{"max_log_size_behavior": "drop"}, "`max_log_size_behavior` must be \"split\" or \"truncate\", it is \"drop\""},
		{keys{"encoding": "utf-9"}, "`encoding`: \"utf-9\" is no known encoding"},
		{keys{"encoding": "nop", "multiline": keys{"line_start_pattern": "^x"}}, "`encoding: nop` has no lines"},
		{keys{"encoding": "utf-16le", "format": "cri"}, "`format: cri` cannot be written in `encoding: utf-16le`"},
		{keys{"encoding": "big5", "format": "docker"}, "`format: docker` is written in UTF-8, not in `encoding: big5`"},
		{keys{"encoding": "iso-8859-1", "line_delimiter": "€"}, "`line_delimiter`: \"€\" cannot be written in `encoding: iso-8859-1`"},
		{keys{"line_delimiter": "0123456789abcdefg"}, "`line_delimiter` must be at most 16 bytes long"},
		{keys{"line_delimiter": ";", "format": "cri"}, "`line_delimiter` cannot be set with `format: cri`"},
		{keys{"format": "syslog"}, "`format` must be raw, cri, docker or auto, it is \"syslog\""},
		{keys{"force_flush_period": "-1s"}, "`force_flush_period` must not be negative, it is -1s"},
		{keys{"multiline": keys{"line_start_pattern": "("}}, "`multiline::line_start_pattern`: \"(\""},
		{keys{"multiline": keys{"line_end_pattern": "a\nb"}}, "`multiline::line_end_pattern`: \"a\\nb\": it asks for a line feed"},
		{keys{"multiline": keys{"line_end_pattern": "a", "line_start_pattern": "b"}}, "`multiline`: only one of"},
		{keys{"multiline": keys{"omit_pattern": true}}, "`multiline::omit_pattern` has no pattern"},
		{keys{"file_attributes_on": "log"}, "`file_attributes_on` must be \"record\" or \"resource\", it is \"log\""},
		{keys{"path_attributes": []any{"/srv/*.log"}}, "`path_attributes`: \"/srv/*.log\""},
		{keys{"attributes": keys{"a": "EXPR(env('x'))"}}, "`attributes::a`: expressions"},
		{keys{"resource": keys{"a": "EXPR(env('x'))"}}, "`resource::a`: expressions"},
		{keys{"multiline": keys{"pattern": "x"}}, "pattern"},
	} {
		_, err := configOf(t, tt.keys)
		require.ErrorContains(t, err, tt.want, "%v", tt.keys)
	}
}

func TestFlushPeriodByDefaultDependsOnMultiline(t *testing.T) {
	multiline := map[string]any{"line_start_pattern": "^x"}
	for _, tt := range []struct {
		keys map[string]any
		want time.Duration
	}{
		{nil, 0},
		{map[string]any{"multiline": multiline}, 500 * time.Millisecond},
		{map[string]any{"multiline": multiline, "force_flush_period": 0}, 0},
		{map[string]any{"force_flush_period": "2s"}, 2 * time.Second},
	} {
		config, err := configOf(t, tt.keys)
		require.NoError(t, err)
		text, err := config.text()
		require.NoError(t, err)
		require.Equal(t, tt.want, text.FlushPeriod)
	}
}

// TestEveryKeyOfLinesAndAttributesWorks reads one file with each key set, and looks at the first record.
func TestEveryKeyOfLinesAndAttributesWorks(t *testing.T) {
	const stamp = "2023-06-22T10:27:25.813799277Z"
	for _, tt := range []struct {
		keys keys
		text string
		want string // body, attributes and resource of the first record
	}{
		{keys{}, " one \n", " one  map[log.file.name:a.log] map[]"},
		{keys{"max_log_size": 4}, "123456\n", "1234 map[log.file.name:a.log log.record.truncated:true] map[]"},
		{keys{"max_log_size": 4, "max_log_size_behavior": "truncate", "start_at": "beginning"}, "123456\n", "1234 map[log.file.name:a.log log.record.truncated:true] map[]"},
		{keys{"encoding": "iso-8859-1"}, "caf\xe9\n", "café map[log.file.name:a.log] map[]"},
		{keys{"line_delimiter": ";"}, "a\nb;", "a\nb map[log.file.name:a.log] map[]"},
		{keys{"format": "cri"}, stamp + " stderr F one\n", "one map[log.file.name:a.log log.iostream:stderr] map[]"},
		{keys{"multiline": keys{"line_start_pattern": "^x"}}, "x\ny\n", "x\ny map[log.file.name:a.log] map[]"},
		{keys{"multiline": keys{"line_end_pattern": "y$", "omit_pattern": true}}, "x\ny\n", "x map[log.file.name:a.log] map[]"},
		{keys{"force_flush_period": "10ms"}, "one", "one map[log.file.name:a.log log.record.truncated:true] map[]"},
		{keys{"preserve_leading_whitespaces": false}, " one \n", "one  map[log.file.name:a.log] map[]"},
		{keys{"preserve_trailing_whitespaces": false}, " one \n", " one map[log.file.name:a.log] map[]"},
		{keys{"skip_empty_lines": true}, "\none\n", "one map[log.file.name:a.log] map[]"},
		{keys{"include_file_name": false}, "one\n", "one map[] map[]"},
		{keys{"file_attributes_on": "resource"}, "one\n", "one map[] map[log.file.name:a.log]"},
		{keys{"include_file_record_number": true, "include_file_record_offset": true}, "one\n", "one map[log.file.name:a.log log.file.record_number:1 log.file.record_offset:0] map[]"},
		{keys{"path_attributes": []any{"**/{service.name}.log"}}, "one\n", "one map[log.file.name:a.log] map[service.name:a]"},
		{keys{"attributes": keys{"x": 1}, "resource": keys{"y": true}}, "one\n", "one map[log.file.name:a.log x:1] map[y:true]"},
	} {
		t.Run(fmt.Sprint(slices.Sorted(maps.Keys(tt.keys))), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.log")
			require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
			all := keys{"include": []any{path}, "start_at": "beginning"}
			maps.Copy(all, tt.keys)
			first := firstRecord(t, all)
			require.Equal(t, tt.want, fmt.Sprint(first.Body, " ", first.Log.Attributes().AsRaw(), " ", first.Resource))
		})
	}
}

func TestEveryKeyOfFileAttributesWorks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "default_web-7d4b_49cc7c1f-d370-11ed-9c3f-0242ac120002", "nginx")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	path := filepath.Join(dir, "0.log")
	require.NoError(t, os.WriteFile(path, []byte("2023-06-22T10:27:25Z stdout F one\n"), 0o600))
	for key, names := range map[string][]string{
		"include_file_path":             {"log.file.path"},
		"include_file_name_resolved":    {"log.file.name_resolved"},
		"include_file_path_resolved":    {"log.file.path_resolved"},
		"include_file_owner_name":       {"log.file.owner.name"},
		"include_file_owner_group_name": {"log.file.owner.group.name"},
		"include_file_permissions":      {"log.file.permissions"},
		"include_file_record_number":    {"log.file.record_number"},
		"include_file_record_offset":    {"log.file.record_offset"},
	} {
		first := firstRecord(t, keys{"include": []any{path}, "start_at": "beginning", "include_file_name": false, key: true})
		require.Equal(t, names, slices.Sorted(maps.Keys(first.Log.Attributes().AsRaw())), key)
		require.Empty(t, first.Resource, "a raw file has no attributes of Kubernetes")
	}
	for add, attributes := range map[bool]int{true: 5, false: 0} {
		first := firstRecord(t, keys{"include": []any{path}, "start_at": "beginning", "format": "auto", "add_metadata_from_filepath": add})
		require.Len(t, first.Resource, attributes)
	}
}

// firstRecord reads with a configuration and returns the first record that comes.
func firstRecord(t *testing.T, keys map[string]any) capturetest.Record {
	t.Helper()
	config, err := configOf(t, keys)
	require.NoError(t, err)
	to := &capturetest.Consumer{}
	r, err := NewFactory().CreateLogs(t.Context(), receivertest.NewNopSettings(metadata.Type), config, to)
	require.NoError(t, err)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	capturetest.WaitFor(t, "a record", func() bool { return to.Len() > 0 })
	require.NoError(t, r.Shutdown(t.Context()))
	return to.Records()[0]
}
