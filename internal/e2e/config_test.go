//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusalLimit is how long the collector may take to refuse its configuration.
const refusalLimit = time.Second

// TestWrongConfigurationIsRefused: the collector ends at once and names the key.
func TestWrongConfigurationIsRefused(t *testing.T) {
	once(t, time.Minute, "--version") // the first start of a large binary reads it from the disk
	for name, tc := range map[string]struct {
		receiver, settings string
		names              []string
	}{
		"unknown key of container_log":  {"container_log", `{endpiont: "unix:///x"}`, []string{"endpiont"}},
		"unknown key of file_tail":      {"file_tail", `{include: [/x/*.log], inclde: [y]}`, []string{"inclde"}},
		"no duration":                   {"file_tail", `{include: [/x/*.log], poll_interval: soon}`, []string{"poll_interval"}},
		"duration below zero":           {"file_tail", `{include: [/x/*.log], poll_interval: -1s}`, []string{"poll_interval", "-1s"}},
		"grace below zero":              {"container_log", `{shutdown_grace: -5s}`, []string{"shutdown_grace", "-5s"}},
		"endpoint of an unknown scheme": {"container_log", `{endpoint: "gopher://x"}`, []string{"endpoint", "gopher://x"}},
		"endpoint without scheme":       {"container_log", `{endpoint: "/var/run/docker.sock"}`, []string{"endpoint", "/var/run/docker.sock"}},
		"no include":                    {"file_tail", `{}`, []string{"include"}},
		"empty include":                 {"file_tail", `{include: []}`, []string{"include"}},
		"bad pattern":                   {"file_tail", `{include: ["/x/[a"]}`, []string{"include", "/x/[a"}},
		"bad pattern to exclude":        {"file_tail", `{include: [/x/*.log], exclude: ["/x/[a"]}`, []string{"exclude", "/x/[a"}},
		"start_at of file_tail":         {"file_tail", `{include: [/x/*.log], start_at: middle}`, []string{"start_at", "middle"}},
		"start_at of container_log":     {"container_log", `{start_at: middle}`, []string{"start_at", "middle"}},
		"storage that is not there":     {"container_log", `{storage: file_storage/none}`, []string{"file_storage/none"}},
		"retry":                         {"file_tail", `{include: [/x/*.log], retry_on_failure: {multiplier: -1}}`, []string{"retry_on_failure", "multiplier"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := minimal(t, tc.receiver, tc.settings)
			output, code, took := once(t, 20*time.Second, "--config", config)
			for range 9 { // a machine that does other things too may need another try
				if took > refusalLimit {
					_, _, took = once(t, 20*time.Second, "--config", config)
				}
			}
			if code == 0 {
				t.Errorf("exit code 0")
			}
			for _, want := range tc.names {
				if !strings.Contains(output, want) {
					t.Errorf("the output does not name %q:\n%s", want, output)
				}
			}
			if took > refusalLimit {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestZeroConfigurationIsValid(t *testing.T) {
	for receiver, settings := range map[string]string{
		"container_log": `{}`, "container_log/empty": ``, "file_tail": `{include: [/x/*.log]}`,
	} {
		if output, code, _ := once(t, time.Minute, "validate", "--config", minimal(t, receiver, settings)); code != 0 {
			t.Errorf("%s: exit code %d\n%s", receiver, code, output)
		}
	}
}

func minimal(t *testing.T, receiver, settings string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	content := "receivers:\n  " + receiver + ": " + settings + "\nexporters: {nop: {}}\n" +
		"service:\n  telemetry: {metrics: {level: none}}\n" +
		"  pipelines: {logs: {receivers: [" + receiver + "], exporters: [nop]}}\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
