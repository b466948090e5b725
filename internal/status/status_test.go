package status

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type host struct{ events []*componentstatus.Event }

func (h *host) Report(e *componentstatus.Event)                     { h.events = append(h.events, e) }
func (h *host) GetExtensions() map[component.ID]component.Component { return nil }

func (h *host) statuses() (all []componentstatus.Status) {
	for _, e := range h.events {
		all = append(all, e.Status())
	}
	return all
}

func TestOKOnlyWhenTheLastTroubleIsOver(t *testing.T) {
	h := &host{}
	b := NewBoard(h)
	away, full := errors.New("daemon away"), errors.New("disk full")
	require.True(t, b.Set("daemon", away))
	require.True(t, b.Set("storage", full))
	require.True(t, b.Set("daemon", nil))
	require.True(t, b.Set("storage", nil))
	const bad, ok = componentstatus.StatusRecoverableError, componentstatus.StatusOK
	require.Equal(t, []componentstatus.Status{bad, bad, bad, ok}, h.statuses())
	require.ErrorIs(t, h.events[1].Err(), away)
	require.ErrorIs(t, h.events[1].Err(), full)
	require.NotErrorIs(t, h.events[2].Err(), away)
}

func TestTheSameTroubleAgainIsNotReported(t *testing.T) {
	h := &host{}
	b := NewBoard(h)
	require.False(t, b.Set("daemon", nil))
	require.True(t, b.Set("daemon", errors.New("away")))
	require.False(t, b.Set("daemon", errors.New("away")))
	require.False(t, b.Set("daemon", errors.New("refused")), "a new reason is reported, but the trouble is not new")
	require.Len(t, h.events, 2)
}

func TestBrokenIsPermanent(t *testing.T) {
	h := &host{}
	NewBoard(h).Broken(errors.New("panic"))
	require.Equal(t, []componentstatus.Status{componentstatus.StatusPermanentError}, h.statuses())
}
