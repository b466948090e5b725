package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"
)

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"web", "web", true}, {"web", "web1", false}, {"web*", "web1", true}, {"*eb?", "web1", true}, {"*eb?", "web", false},
		{"*/nginx", "reg:5000/a/nginx", true}, {"a.b", "axb", false}, {"/^web-\\d+$/", "web-12", true}, {"/eb/", "web", true}, {"/^eb/", "web", false},
	} {
		p, err := parsePattern(tt.pattern)
		require.NoError(t, err)
		require.Equal(t, tt.want, p.matches(tt.text), "%+v", tt)
	}
	for _, text := range []string{"", "/(/"} {
		_, err := parsePattern(text)
		require.Error(t, err, text)
	}
}

func TestSelection(t *testing.T) {
	web := description{name: "web-1", image: "reg:5000/shop/web:v2", driver: "json-file", labels: map[string]string{composeProject: "shop", "tier": "front", "empty": ""}, state: "running"}
	for name, tt := range map[string]struct {
		include, exclude MatchConfig
		want             bool
	}{
		"nothing named":           {want: true},
		"name":                    {include: MatchConfig{Names: []string{"db", "web-*"}}, want: true},
		"other name":              {include: MatchConfig{Names: []string{"db"}}, want: false},
		"image without tag":       {include: MatchConfig{Images: []string{"reg:5000/shop/web"}}, want: true},
		"image with tag":          {include: MatchConfig{Images: []string{"*/web:v2"}}, want: true},
		"name and other image":    {include: MatchConfig{Names: []string{"web-1"}, Images: []string{"nginx"}}, want: false},
		"name and image":          {include: MatchConfig{Names: []string{"web-1"}, Images: []string{"*web*"}}, want: true},
		"label":                   {include: MatchConfig{Labels: []string{"tier"}}, want: true},
		"label with value":        {include: MatchConfig{Labels: []string{"tier=f*"}}, want: true},
		"label with other value":  {include: MatchConfig{Labels: []string{"tier=back"}}, want: false},
		"label without value":     {include: MatchConfig{Labels: []string{"empty="}}, want: true},
		"label by expression":     {include: MatchConfig{Labels: []string{"/^ti/"}}, want: true},
		"driver":                  {include: MatchConfig{LogDrivers: []string{"json-file", "local"}}, want: true},
		"other driver":            {exclude: MatchConfig{LogDrivers: []string{"json-file"}}, want: false},
		"project":                 {include: MatchConfig{ComposeProjects: []string{"shop"}}, want: true},
		"other project":           {include: MatchConfig{ComposeProjects: []string{"blog"}}, want: false},
		"state":                   {include: MatchConfig{States: []string{"running", "paused"}}, want: true},
		"other state":             {exclude: MatchConfig{States: []string{"running"}}, want: false},
		"exclude wins":            {include: MatchConfig{Names: []string{"web-1"}}, exclude: MatchConfig{Labels: []string{"tier=front"}}, want: false},
		"exclude of another kind": {exclude: MatchConfig{Names: []string{"db"}, Images: []string{"nginx"}}, want: true},
	} {
		config := createDefaultConfig().(*Config)
		config.Include, config.Exclude = tt.include, tt.exclude
		rules, err := config.build()
		require.NoError(t, err)
		require.Equal(t, tt.want, rules.selection.includes(&web), name)
	}
}

func TestServiceIdentity(t *testing.T) {
	for name, tt := range map[string]struct {
		description
		want service
	}{
		"name only":       {description{name: "web-1"}, service{name: "web-1"}},
		"compose":         {description{name: "shop-web-1", labels: map[string]string{composeProject: "shop", composeService: "web"}}, service{"web", "shop", ""}},
		"image labels":    {description{name: "x", labels: map[string]string{"org.opencontainers.image.title": "Web", "org.opencontainers.image.version": "2", composeService: "web"}}, service{"Web", "", "2"}},
		"a base image's":  {description{name: "x", labels: map[string]string{"org.opencontainers.image.version": "24.04"}}, service{name: "x"}},
		"swarm":           {description{name: "x.1.abc", labels: map[string]string{swarmService: "stack_web", swarmStack: "stack"}}, service{"stack_web", "stack", ""}},
		"environment":     {description{name: "x", env: []string{"OTEL_RESOURCE_ATTRIBUTES=service.name=a%20b, service.version=3,service.namespace=n,other=x"}, labels: map[string]string{composeService: "web"}}, service{"a b", "n", "3"}},
		"name of its own": {description{env: []string{"OTEL_SERVICE_NAME=own", "OTEL_RESOURCE_ATTRIBUTES=service.name=other"}}, service{name: "own"}},
	} {
		require.Equal(t, tt.want, identify(&tt.description), name)
	}
}

func TestOverridesAreBounded(t *testing.T) {
	config := createDefaultConfig().(*Config)
	byDefault, err := config.defaults()
	require.NoError(t, err)
	apply := func(labels ...string) (chosen, error) {
		all := map[string]string{}
		for i := 0; i < len(labels); i += 2 {
			all[config.Overrides.Prefix+labels[i]] = labels[i+1]
		}
		return config.Overrides.override(all, byDefault)
	}
	got, err := apply("enabled", "false", "streams", "stderr", "start_at", "1h", "service.name", "s", "format", "json", "attributes.team", "a", "multiline.line_start_pattern", "^x")
	require.NoError(t, err)
	require.False(t, got.enabled)
	require.False(t, got.stdout)
	require.True(t, got.stderr)
	require.Equal(t, time.Hour, got.history)
	require.Equal(t, "s", got.service)
	require.Equal(t, "json", got.format)
	require.Equal(t, map[string]string{"team": "a"}, got.attributes)
	require.NotNil(t, got.multiline.start)
	for _, wrong := range [][2]string{
		{"enabled", "perhaps"}, {"streams", "stdin"}, {"start_at", "now"}, {"multiline.line_start_pattern", "("}, {"unknown", "x"}, {"attributes.", "x"},
		{"attributes.container.id", "forged"}, {"service.name", strings.Repeat("x", 2000)}, {"multiline.line_start_pattern", strings.Repeat("x", 2000)},
		{"multiline.line_start_pattern", "(?:" + strings.Repeat("x", 500) + "){1000}"}, {"multiline.line_end_pattern", "(?:(?:[a-z]x?){40}y){20,25}"},
	} {
		got, err := apply(wrong[0], wrong[1])
		require.Error(t, err, wrong)
		require.Equal(t, byDefault, got, wrong)
	}
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("attributes.k%d", i), "v")
	}
	got, err = apply(many...)
	require.Error(t, err)
	require.Len(t, got.attributes, maxOverrideAttributes)
	config.Overrides.Enabled = false
	got, err = apply("enabled", "false")
	require.NoError(t, err)
	require.True(t, got.enabled)
}

// Row 57, 58 and 61.
func TestContainersThatAreNotSelectedCostNothing(t *testing.T) {
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) {
		c.ResyncInterval = 50 * time.Millisecond
		c.Exclude = MatchConfig{Names: []string{"noisy*"}, LogDrivers: []string{"gelf"}}
		c.LabelAttributes, c.EnvAttributes = []string{"team", "/^app\\./"}, []string{"REGION"}
	})
	before := e.run(&fakeContainer{name: "noisy-before"})
	r.start()
	noisy := e.run(&fakeContainer{name: "noisy-1", labels: map[string]string{"io.opentelemetry.logs/streams": "nonsense"}})
	gelf := e.run(&fakeContainer{name: "gelf", driver: "gelf"})
	off := e.run(&fakeContainer{name: "off", labels: map[string]string{"io.opentelemetry.logs/enabled": "false"}})
	web := e.run(&fakeContainer{name: "web", image: "shop/web:v1", driver: "json-file", env: []string{"REGION=eu", "SECRET=s", "OTEL_SERVICE_NAME=shop", "OTEL_RESOURCE_ATTRIBUTES=service.version=%ff1"},
		labels: map[string]string{"team": "a", "app.tier": "b", "other": "c", "io.opentelemetry.logs/attributes.owner": "me", "io.opentelemetry.logs/start_at": "nonsense"}})
	e.write(web, "x")
	r.awaitLines(web.id, 1)
	time.Sleep(300 * time.Millisecond) // several lists
	for _, c := range []*fakeContainer{before, noisy, gelf, off} {
		require.Zero(t, e.logsRequests(c), c.name)
	}
	resource := r.records(web.id)[0].Resource
	for key, want := range map[string]any{
		"container.label.team": "a", "container.label.app.tier": "b", "container.label.other": nil, "container.env.REGION": "eu", "container.env.SECRET": nil,
		"service.name": "shop", "service.version": "\ufffd1", "owner": "me", "host.name": "fakehost",
	} {
		require.Equal(t, want, resource[key], key)
	}
	misunderstood := func(c *fakeContainer) int {
		return r.logs.FilterMessageSnippet("not understood").FilterField(zap.String("container", c.id)).Len()
	}
	require.Equal(t, 1, misunderstood(web))
	require.Zero(t, misunderstood(noisy), "labels of one that is left out matter to nobody")
	e.change(func() {
		noisy.name = "calm"
		e.event("rename", noisy)
	})
	e.write(noisy, "y")
	r.awaitLines(noisy.id, 1)
	require.Equal(t, 1, misunderstood(noisy))
	r.stop()

	r.config.EnabledByDefault = false
	r.start()
	in := e.run(&fakeContainer{name: "in", labels: map[string]string{"io.opentelemetry.logs/enabled": "true"}})
	out := e.run(&fakeContainer{name: "out"})
	e.write(in, "z")
	e.write(out, "z")
	r.awaitLines(in.id, 1)
	require.Zero(t, e.logsRequests(out))
	r.stop()
}

// An engine that has trouble for a moment answers some inspects with an error; 500 is what Docker answers then.
func TestInspectThatFailsIsRepeated(t *testing.T) {
	t.Parallel()
	for name, adjust := range map[string]func(*Config){
		"while the log is open":    nil,
		"before the log is opened": func(c *Config) { c.Exclude.LogDrivers = []string{"gelf"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newFakeEngine(t, nil)
			r := newFakeRig(t, e, adjust)
			r.start()
			awaitUp(r)
			web := e.run(&fakeContainer{env: []string{"OTEL_SERVICE_NAME=shop"}, driver: "json-file", mute: 3})
			gelf := e.run(&fakeContainer{driver: "gelf", mute: 3})
			e.write(web, "one", "two")
			e.write(gelf, "x")
			r.awaitLines(web.id, 2)
			e.write(web, "three")
			r.awaitLines(web.id, 3)
			require.Equal(t, []string{"one", "two", "three"}, r.bodies(web))
			for _, record := range r.records(web.id) {
				require.Equal(t, "shop", record.Resource["service.name"])
			}
			require.LessOrEqual(t, e.logsRequests(web), 2) // while it is not described none is held open
			if adjust == nil {
				r.awaitLines(gelf.id, 1)
			} else {
				r.awaitSettledOut(gelf.id)
				require.Zero(t, e.logsRequests(gelf))
			}
			r.stop()
		})
	}
	t.Run("of a container that is removed then", func(t *testing.T) {
		t.Parallel()
		e := newFakeEngine(t, nil)
		r := newFakeRig(t, e, nil)
		r.start()
		awaitUp(r)
		c := e.run(&fakeContainer{mute: 1 << 30})
		e.write(c, "one")
		f := r.receiver.(*containerLog).follower
		waitFor(t, "the first inspect", func() bool { return r.logs.FilterMessageSnippet("does not describe").Len() == 1 })
		e.end(c, "exited")
		e.remove(c)
		waitFor(t, "the container is let go", func() bool { return f.get(c.id) == nil })
		require.Equal(t, int64(1), r.metric("logcapture_gaps"))
		r.stop()
	})
}

func TestRecordsOfSeveralLines(t *testing.T) {
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) {
		c.Multiline.LineStartPattern, c.ForceFlushPeriod = `^\S`, 300*time.Millisecond
	})
	r.start()
	c := e.run(&fakeContainer{})
	e.write(c, "panic", "  at a", "  at b", "next", "  of it")
	r.awaitLines(c.id, 1)
	require.Equal(t, []string{"panic\n  at a\n  at b"}, r.bodies(c))
	r.stop() // the one that is open is not delivered, and comes again
	r.start()
	r.awaitLines(c.id, 2)
	e.write(c, "third", " end")
	e.end(c, "exited")
	r.awaitLines(c.id, 3)
	require.Equal(t, []string{"panic\n  at a\n  at b", "next\n  of it", "third\n end"}, r.bodies(c))
	r.stop()
}

// A container that is not captured any more is let go at once, also while the pipeline takes nothing of it.
func TestContainerIsLeftOutWhileItsRecordWaits(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) {
		c.Multiline.LineStartPattern, c.ForceFlushPeriod, c.Exclude.Names = `^\S`, 100*time.Millisecond, []string{"noisy"}
	})
	var refused atomic.Int64
	r.consumer.Answer(func(context.Context, plog.Logs) error {
		refused.Add(1)
		return errors.New("not now")
	})
	r.start()
	awaitUp(r)
	c := e.run(&fakeContainer{})
	e.write(c, "panic", "  at a") // a record whose end is waited for
	waitFor(t, "a delivery", func() bool { return refused.Load() > 0 })
	e.change(func() {
		c.name = "noisy"
		e.event("rename", c)
	})
	waitFor(t, "the end of the stream", func() bool { return r.metric("logcapture_containers_followed") == 0 })
	r.stop()
}

func TestLifecycleRecordsStandBetweenTheLines(t *testing.T) {
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.LifecycleRecords = true })
	r.start()
	awaitUp(r)
	c := e.run(&fakeContainer{})
	e.write(c, "one")
	r.awaitLines(c.id, 2)
	e.change(func() { e.event("health_status: unhealthy", c) })
	r.awaitLines(c.id, 3)
	e.write(c, "two", "three")
	e.end(c, "exited")
	r.awaitLines(c.id, 6)
	e.restart(c)
	e.write(c, "four")
	r.awaitLines(c.id, 8)
	want := []string{"container has started", "one", "container is unhealthy", "two", "three", "container has ended with exit code 7", "container has started", "four"}
	require.Equal(t, want, r.bodies(c))
	die := r.records(c.id)[5].Log
	require.Equal(t, "container.die", die.EventName())
	code, _ := die.Attributes().Get("process.exit.code")
	require.Equal(t, int64(7), code.Int())
	duration, ok := die.Attributes().Get("container.run.duration")
	require.True(t, ok)
	require.Positive(t, duration.Double())
	r.stop()
}
