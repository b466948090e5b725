package containerlogreceiver

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/confmap"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

type keys = map[string]any

// keysOfLines are keys that change what comes of the container a in TestEveryKeyHasItsEffect: stdout, stderr.
var keysOfLines = []struct {
	keys keys
	want string
}{
	{keys{}, "one|  more|two, err"},
	{keys{"streams": []any{"stderr"}}, ", err"},
	{keys{"max_log_size": 3}, "one|  m|ore|two, err"},
	{keys{"max_log_size": 3, "max_log_size_behavior": "truncate"}, "one|  m|two, err"},
	{keys{"multiline": keys{"line_start_pattern": `^\S`}, "force_flush_period": "10ms"}, "one\n  more|two, err"},
	{keys{"multiline": keys{"line_end_pattern": "more$"}}, "one\n  more|two, err"},
}

// keysOfResources are keys that change an attribute of its resource; no value: it is not there.
var keysOfResources = []struct {
	keys            keys
	attribute, want string
}{
	{keys{}, "container.label.team", ""},
	{keys{"label_attributes": []any{"te*"}}, "container.label.team", "blue"},
	{keys{}, "container.env.REGION", ""},
	{keys{"env_attributes": []any{"REGION"}}, "container.env.REGION", "eu"},
	{keys{}, "service.name", "shop"},
	{keys{"service_identity": false}, "service.name", ""},
	{keys{}, "owner", "me"},
	{keys{"overrides": keys{"enabled": false}}, "owner", ""},
	{keys{"overrides": keys{"prefix": "my/"}}, "owner", "you"},
}

// keysOfSelection are keys that say which of a and b are captured.
var keysOfSelection = []struct {
	keys keys
	want string
}{
	{keys{"enabled_by_default": false}, "b"},
	{keys{"exclude": keys{"names": []any{"*-a"}}}, "b"},
	{keys{"exclude": keys{"images": []any{"*"}}}, ""},
	{keys{"exclude": keys{"labels": []any{"team=blue"}}}, "b"},
	{keys{"exclude": keys{"log_drivers": []any{"local"}}}, "a"},
	{keys{"exclude": keys{"compose_projects": []any{"/^sh/"}}}, "a"},
	{keys{"include": keys{"labels": []any{"team"}}}, "a"},
	{keys{"include": keys{"log_drivers": []any{"local"}}}, "b"},
	{keys{"include": keys{"compose_projects": []any{"shop"}}}, "b"},
	{keys{"include": keys{"states": []any{"running"}}}, "ab"},
	{keys{"exclude": keys{"states": []any{"run*"}}}, ""},
}

// keysElsewhere have a test of their own.
var keysElsewhere = map[string]string{
	"endpoint":            "TestWhereTheEngineIs",
	"read_from":           "TestWhereLogsAreReadFrom",
	"root_path":           "TestWhereLogsAreReadFrom",
	"tls":                 "TestEngineBehindTLS",
	"start_at":            "TestStartAtEnd",
	"lifecycle_records":   "TestLifecycleRecordsStandBetweenTheLines",
	"resync_interval":     "TestContainersThatAreNotSelectedCostNothing",
	"idle_check_interval": "TestDeadStreamIsFoundAndOpenedAgain",
	"storage":             "TestCleanRestartsRepeatAndLoseNothing",
	"retry_on_failure":    "TestRefusedDeliveriesAreRepeatedAfterARestart",
	"shutdown_grace":      "TestShutdownWhileADeliveryDoesNotEnd",
	"max_inflight_bytes":  "TestShutdownWhileADeliveryDoesNotEnd",
}

// TestEveryKeyHasItsEffect reads two running containers with each key set as in YAML.
func TestEveryKeyHasItsEffect(t *testing.T) {
	inBothModes(t, testEveryKeyHasItsEffect)
}

func testEveryKeyHasItsEffect(t *testing.T) {
	base := name(t)
	a := dockertest.Run(t, dockertest.Spec{
		Name: base + "-a", Env: []string{"REGION=eu", "OTEL_SERVICE_NAME=shop"},
		Labels: map[string]string{"team": "blue", "io.opentelemetry.logs/attributes.owner": "me", "my/attributes.owner": "you"},
		Steps:  []script.Step{raw(script.Stdout, "one\n  more\ntwo\n"), raw(script.Stderr, "err\n"), script.Wait{Signal: "TERM"}},
	})
	b := dockertest.Run(t, dockertest.Spec{
		Name: base + "-b", LogDriver: "local",
		Labels: map[string]string{composeProject: "shop", "io.opentelemetry.logs/enabled": "true"},
		Steps:  []script.Step{raw(script.Stdout, "one\n"), script.Wait{Signal: "TERM"}},
	})
	waitFor(t, "the containers' lines", func() bool { return len(a.Logs()) == 4 && len(b.Logs()) == 1 })

	run := func(t *testing.T, set keys, settled func(*rig) bool) *rig {
		all := keys{}
		maps.Copy(all, set)
		include := keys{"names": []any{base + "-*"}} // others use the same engine
		if more, ok := set["include"].(keys); ok {
			maps.Copy(include, more)
		}
		all["include"] = include
		r := newRig(t, func(c *Config) {
			require.NoError(t, confmap.NewFromStringMap(all).Unmarshal(c))
			c.Endpoint = dockertest.Client(t).DaemonHost() // keeps the rig from selecting
		})
		r.start()
		waitFor(t, fmt.Sprint("the effect of ", set), func() bool { return settled(r) })
		r.stop()
		return r
	}
	for _, tt := range keysOfLines {
		t.Run(fmt.Sprint(tt.keys), func(t *testing.T) {
			run(t, tt.keys, func(r *rig) bool {
				bodies := map[string][]string{}
				for _, record := range r.records(a.ID) {
					stream, _ := record.Log.Attributes().Get("log.iostream")
					bodies[stream.Str()] = append(bodies[stream.Str()], record.Body)
				}
				return strings.Join(bodies["stdout"], "|")+", "+strings.Join(bodies["stderr"], "|") == tt.want
			})
		})
	}
	for _, tt := range keysOfResources {
		t.Run(fmt.Sprint(tt.keys, tt.attribute), func(t *testing.T) {
			r := run(t, tt.keys, func(r *rig) bool { return len(r.records(a.ID)) > 0 })
			value, ok := r.records(a.ID)[0].Resource[tt.attribute]
			require.Equal(t, tt.want != "", ok)
			if ok {
				require.Equal(t, tt.want, value)
			}
		})
	}
	for _, tt := range keysOfSelection {
		t.Run(fmt.Sprint(tt.keys), func(t *testing.T) {
			r := run(t, tt.keys, func(r *rig) bool {
				f := r.receiver.(*containerLog).follower
				return f.get(a.ID) != nil && f.get(b.ID) != nil && r.metric("logcapture_containers_followed") == int64(len(tt.want)) &&
					(len(r.records(a.ID)) > 0) == strings.Contains(tt.want, "a") && (len(r.records(b.ID)) > 0) == strings.Contains(tt.want, "b")
			})
			require.Equal(t, strings.Contains(tt.want, "a"), len(r.records(a.ID)) > 0)
			require.Equal(t, strings.Contains(tt.want, "b"), len(r.records(b.ID)) > 0)
		})
	}
}

func TestEveryKeyIsDocumentedAndTested(t *testing.T) {
	tested := map[string]bool{}
	note := func(set keys) {
		for key := range set {
			tested[key] = true
		}
	}
	for _, tt := range keysOfLines {
		note(tt.keys)
	}
	for _, tt := range keysOfResources {
		note(tt.keys)
	}
	for _, tt := range keysOfSelection {
		note(tt.keys)
	}
	capturetest.RequireKeys(t, reflect.TypeFor[Config](), tested, keysElsewhere)
}
