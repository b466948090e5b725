package containerlogreceiver

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// generator has a container write a line each time that it is asked. It has an engine of its own, where nothing else writes.
type generator struct {
	t      *testing.T
	engine *dockertest.Engine

	mu        sync.Mutex
	container *dockertest.Container
	lines     int
}

const generated = 40

func (g *generator) Start() {
	var steps []script.Step
	for range generated {
		steps = append(steps, script.Wait{Signal: "USR1"}, script.Lines{Count: 1})
	}
	// Text of another container in each scenario: the first line tells that it is deaf for signals no more.
	steps = append([]script.Step{script.Lines{Stream: script.Stderr, Count: 1}}, append(steps, script.Wait{})...)
	g.container = dockertest.Run(g.t, dockertest.Spec{Client: g.engine.Client(), Steps: steps})
	g.lines = 0
	waitFor(g.t, "the first line", func() bool { return len(g.container.Logs()) == 1 })
}

func (g *generator) Stop() { g.container.Remove() }

func (g *generator) Generate() []receivertest.UniqueIDAttrVal {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines++
	g.container.Signal("USR1")
	for len(g.container.Logs()) < g.lines+1 {
		time.Sleep(time.Millisecond)
	}
	return []receivertest.UniqueIDAttrVal{receivertest.UniqueIDAttrVal(fmt.Sprintf("stdout-1-%d", g.lines))}
}

func TestConsumeContract(t *testing.T) {
	t.Parallel()
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{})
	engine.Start()
	config := createDefaultConfig().(*Config)
	config.Endpoint, config.Streams = engine.Host(), []string{streamStdout}
	config.Retry.InitialInterval, config.Retry.MaxInterval = time.Millisecond, 5*time.Millisecond
	receivertest.CheckConsumeContract(receivertest.CheckConsumeContractParams{
		T: t, Factory: capturetest.WithTestID(NewFactory()), Signal: pipeline.SignalLogs, Config: config,
		Generator: &generator{t: t, engine: engine}, GenerateCount: generated,
	})
}
