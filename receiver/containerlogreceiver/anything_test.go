package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// TestAnythingInAnyOrder does at random what can happen to a container, to the pipeline and to the receiver, while lines, and long ones amid
// those of the other stream, are written. LOGCAPTURE_LONG=1 goes on for a minute. What it finds gets a test of its own.
func TestAnythingInAnyOrder(t *testing.T) {
	t.Parallel()
	needFiles(t)
	for variant, tt := range map[string]struct {
		modes []string
		log   map[string]string
		start string // of a record of several lines
	}{
		"api":                       {[]string{readAPI}, map[string]string{"max-size": "2m", "max-file": "20"}, ""},
		"files":                     {[]string{readFiles}, map[string]string{"max-size": "300k", "max-file": "60", "compress": "true"}, ""},
		"in turn":                   {[]string{readFiles, readAPI}, map[string]string{"max-size": "2m", "max-file": "20"}, ""},
		"in turn, of several lines": {[]string{readFiles, readAPI}, map[string]string{"max-size": "2m", "max-file": "20"}, "[05] [a-z]|^o"},
	} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			cut := func(stream string) script.Lines {
				return script.Lines{Stream: stream, Count: 1, Length: 33_000, NoFinalNewline: true}
			}
			var steps []script.Step
			for range 40 {
				steps = append(steps, script.Lines{Stream: script.Both, Count: 100, PerSecond: 500, Length: 200},
					cut(script.Stderr), cut(script.Stdout), raw(script.Stderr, "\n"), raw("", "\n"))
			}
			c := dockertest.Create(t, dockertest.Spec{Name: name(t), LogOpts: tt.log, Restart: "always", Steps: append(steps, raw("", "open"))})
			r := newRig(t, func(config *Config) {
				config.Multiline.LineStartPattern, config.ReadFrom = tt.start, tt.modes[0]
				config.Retry.InitialInterval, config.Retry.MaxInterval = 50*time.Millisecond, 200*time.Millisecond
			})
			a := anything{r: r, c: c, name: c.Name, modes: tt.modes}
			r.consumer.Answer(a.answer)
			r.start()
			awaitUp(r)
			c.Start()
			a.happen()
			a.refuses.Store(false)
			c.Stop(1)
			want := engineLines(c)
			if tt.start == "" {
				r.requireExact(c)
			} else {
				waitFor(t, "all lines", func() bool { return len(a.texts()) >= len(want) })
				for i := range want {
					_, want[i], _ = strings.Cut(want[i], "Z") // records have one stamp only
				}
				requireSame(t, want, a.texts())
			}
			require.Zero(t, r.metric("logcapture_gaps"))
			r.stop()
		})
	}
}

// anything is what happens to a container.
type anything struct {
	r       *rig
	c       *dockertest.Container
	name    string
	modes   []string
	refuses atomic.Bool // the pipeline takes nothing
	n       int
}

func (a *anything) answer(context.Context, plog.Logs) error {
	if a.refuses.Load() {
		return errors.New("not now")
	}
	return nil
}

func (a *anything) happen() {
	length := 6 * time.Second
	if long() {
		length = time.Minute
	}
	rnd := random(a.r.t)
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(time.Duration(rnd.Int64N(int64(300 * time.Millisecond)))) { // what happens, happens at any time
		a.one(rnd)
	}
	_ = dockertest.Client(a.r.t).ContainerUnpause(a.r.t.Context(), a.c.ID)
}

// random prints the seed that LOGCAPTURE_SEED repeats its numbers with, though not the moments at which things happen.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("LOGCAPTURE_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "LOGCAPTURE_SEED")
	}
	t.Logf("LOGCAPTURE_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// one lets one thing happen. The engine refuses some of them where the container is just ending.
func (a *anything) one(rnd *rand.Rand) {
	ctx, engine, id := a.r.t.Context(), dockertest.Client(a.r.t), a.c.ID
	a.n++
	switch rnd.IntN(16) {
	case 0, 1:
		seconds := 2 * rnd.IntN(2)
		_ = engine.ContainerRestart(ctx, id, container.StopOptions{Timeout: &seconds})
	case 2:
		_ = engine.ContainerKill(ctx, id, "KILL")
	case 3:
		_ = engine.ContainerRename(ctx, id, fmt.Sprintf("%s-%d", a.name, a.n))
	case 4:
		_ = engine.ContainerPause(ctx, id)
	case 5, 6, 7:
		_ = engine.ContainerUnpause(ctx, id)
	case 8:
		_, _ = engine.ContainerUpdate(ctx, id, container.UpdateConfig{Resources: container.Resources{CPUShares: 512 + rnd.Int64N(512)}})
	case 9, 10, 11:
		a.refuses.Store(!a.refuses.Load())
	default:
		a.r.stop()
		a.r.config.ReadFrom = a.modes[a.n%len(a.modes)]
		a.r.start()
	}
}

// texts returns the lines of all records, without their stamps.
func (a *anything) texts() (all []string) {
	for _, record := range a.r.records(a.c.ID) {
		stream, _ := record.Log.Attributes().Get("log.iostream")
		for line := range strings.SplitSeq(record.Body, "\n") {
			all = append(all, fmt.Sprintf(" %s %s", stream.Str(), line))
		}
	}
	return all
}
