package containerlogreceiver

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Each container writes the same before the receiver starts and, when it is signalled, "new".
var labelsOfContainers = map[string]struct {
	labels    map[string]string
	want      string // stdout, stderr
	attribute string // of the resource
	value     string
}{
	"none":                 {nil, "one|  more|new, err", "log.format", ""},
	"streams":              {map[string]string{"streams": "stderr"}, ", err", "", ""},
	"first lines":          {map[string]string{"multiline.line_start_pattern": `^\S`}, "one\n  more|new, err", "", ""},
	"last lines":           {map[string]string{"multiline.line_end_pattern": "more$|new"}, "one\n  more|new, err", "", ""},
	"end":                  {map[string]string{"start_at": "end"}, "new, ", "", ""},
	"name":                 {map[string]string{"service.name": "shop"}, "one|  more|new, err", "service.name", "shop"},
	"name as an attribute": {map[string]string{"service.name": "shop", "attributes.service.name": "store"}, "one|  more|new, err", "service.name", "store"},
	"format":               {map[string]string{"format": "json"}, "one|  more|new, err", "log.format", "json"},
	"not enabled":          {map[string]string{"enabled": "false"}, ", ", "", ""},
	"bad":                  {map[string]string{"streams": "stdin"}, "one|  more|new, err", "", ""},
}

func TestLabelsHaveTheirEffect(t *testing.T) {
	t.Parallel()
	inBothModes(t, testLabelsHaveTheirEffect)
}

func testLabelsHaveTheirEffect(t *testing.T) {
	t.Parallel()
	containers := map[string]*dockertest.Container{}
	for variant, tt := range labelsOfContainers {
		labels := map[string]string{}
		for key, value := range tt.labels {
			labels["io.opentelemetry.logs/"+key] = value
		}
		containers[variant] = dockertest.Run(t, dockertest.Spec{Name: name(t), Labels: labels, Steps: []script.Step{
			raw(script.Stdout, "one\n  more\n"), raw(script.Stderr, "err\n"), script.Wait{Signal: "USR1"}, raw(script.Stdout, "new\n"), script.Wait{Signal: "TERM"},
		}})
	}
	for _, c := range containers {
		waitFor(t, "its first lines", func() bool { return len(c.Logs()) == 3 })
	}
	r := newRig(t, func(c *Config) { c.ResyncInterval = 200 * time.Millisecond })
	r.start()
	awaitUp(r)
	for _, c := range containers {
		c.Signal("USR1")
	}
	got := func(id string) string {
		bodies := map[string][]string{}
		for _, record := range r.records(id) {
			stream, _ := record.Log.Attributes().Get("log.iostream")
			bodies[stream.Str()] = append(bodies[stream.Str()], record.Body)
		}
		return strings.Join(bodies["stdout"], "|") + ", " + strings.Join(bodies["stderr"], "|")
	}
	for variant, tt := range labelsOfContainers {
		id := containers[variant].ID
		waitFor(t, fmt.Sprintf("what the labels %q want", variant), func() bool { return got(id) == tt.want })
		if tt.attribute != "" {
			value, there := r.records(id)[0].Resource[tt.attribute]
			require.Equal(t, tt.value != "", there, variant)
			require.True(t, !there || value == tt.value, "%s: %v", variant, value)
		}
	}
	r.stop()
	for variant, tt := range labelsOfContainers { // nothing came later
		require.Equal(t, tt.want, got(containers[variant].ID), variant)
	}
	for variant, c := range containers {
		want := 0
		if variant == "bad" {
			want = 1 // however often the containers are listed
		}
		require.Equal(t, want, r.logs.FilterMessageSnippet("not understood").FilterField(zap.String("container", c.ID)).Len(), variant)
	}
}

func TestLabelsOfComposeAndSwarmAreKept(t *testing.T) {
	t.Parallel()
	labels := map[string]string{
		composeProject: "shop", composeService: "web", swarmService: "stack_web", swarmStack: "stack", "com.docker.swarm.node.id": "n",
		"com.docker.swarm.task.id": "t", "com.docker.swarm.task.name": "stack_web.1.t",
	}
	c := dockertest.Run(t, dockertest.Spec{
		Name: name(t), Labels: labels, Env: []string{"OTEL_RESOURCE_ATTRIBUTES=service.namespace=shop%20a,service.version=1.2"},
		Steps: []script.Step{script.Lines{Count: 1}, script.Wait{}},
	})
	r := newRig(t, nil)
	r.start()
	r.awaitLines(c.ID, 1)
	resource := r.records(c.ID)[0].Resource
	for key, value := range labels {
		require.Equal(t, value, resource["container.label."+key], key)
	}
	require.Equal(t, "stack_web", resource["service.name"])
	require.Equal(t, "shop a", resource["service.namespace"])
	require.Equal(t, "1.2", resource["service.version"])
	r.stop()
}

// What the real engine tells of a container's health, and of its memory.
func TestHealthAndMemoryAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.LifecycleRecords = true })
	r.start()
	awaitUp(r)
	event := func(id, name string) func() bool {
		return func() bool {
			for _, record := range r.records(id) {
				if record.Log.EventName() == name {
					return true
				}
			}
			return false
		}
	}
	check, err := script.Args([]script.Step{script.Exit{}})
	require.NoError(t, err)
	healthy := dockertest.Run(t, dockertest.Spec{
		Name: name(t), Steps: []script.Step{script.Lines{Count: 1}, script.Wait{}},
		Adjust: func(c *container.Config, _ *container.HostConfig) {
			c.Healthcheck = &container.HealthConfig{Test: append([]string{"CMD", "/logwriter"}, check...), Interval: 100 * time.Millisecond, Timeout: time.Minute}
		},
	})
	waitFor(t, "its health", event(healthy.ID, "container.health_status"))
	for _, record := range r.records(healthy.ID) {
		if status, ok := record.Log.Attributes().Get("container.health.status"); ok {
			require.Equal(t, "healthy", status.Str())
		}
	}
	info, err := dockertest.Client(t).Info(t.Context())
	require.NoError(t, err)
	if !info.MemoryLimit {
		t.Skip("NOT TESTED: the engine cannot limit memory here, so that no container runs out of it")
	}
	const limit = 16 << 20
	greedy := dockertest.Run(t, dockertest.Spec{
		Name: name(t), Steps: []script.Step{script.Lines{Count: 1, Length: 8 * limit}},
		Adjust: func(_ *container.Config, host *container.HostConfig) { host.Memory, host.MemorySwap = limit, limit },
	})
	waitFor(t, "its end", event(greedy.ID, "container.die"))
	waitFor(t, "that it had no memory", event(greedy.ID, "container.oom"))
	r.stop()
}

// requests counts what the real engine is asked for, by the end of the path.
type requests struct {
	lists, logs atomic.Int64
	noInspect   atomic.Bool // it lets none through
}

// countRequests returns the address of something that passes requests on to the engine, and their numbers.
func countRequests(t *testing.T) (string, *requests) {
	socket := strings.TrimPrefix(dockertest.Client(t).DaemonHost(), "unix://")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	pass.Transport, pass.FlushInterval = transport, -1
	n := &requests{}
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		switch {
		case strings.HasSuffix(request.URL.Path, "/containers/json"):
			n.lists.Add(1)
		case strings.HasSuffix(request.URL.Path, "/logs"):
			n.logs.Add(1)
		case strings.HasSuffix(request.URL.Path, "/json") && n.noInspect.Load():
			http.Error(w, "Forbidden", http.StatusForbidden) // as docker-socket-proxy does
			return
		}
		pass.ServeHTTP(w, request)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		transport.CloseIdleConnections()
	})
	return "unix://" + listener.Addr().String(), n
}

func TestLogDriverNoneIsAskedOnce(t *testing.T) {
	t.Parallel()
	endpoint, asked := countRequests(t)
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.Include.Names, c.ResyncInterval = endpoint, []string{prefixFor(t) + "-*"}, 100*time.Millisecond
	})
	r.start()
	awaitUp(r)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), LogDriver: "none", Steps: []script.Step{script.Lines{Count: 10, PerSecond: 5}, script.Wait{}}})
	warnings := func() int {
		return r.logs.FilterMessageSnippet("cannot be read").FilterField(zap.String("container", c.ID)).Len()
	}
	waitFor(t, "a warning", func() bool { return warnings() > 0 })
	lists := asked.lists.Load()
	waitFor(t, "more lists", func() bool { return asked.lists.Load() > lists+5 })
	require.EqualValues(t, 1, asked.logs.Load())
	require.Equal(t, 1, warnings())
	r.stop()
}
