package containerlogreceiver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpareMemoryIsHeldWhileMuchIsRead(t *testing.T) {
	var s spare
	delivered := int64(0)
	look := func(ticks int, bytes int64) bool {
		for range ticks {
			delivered += bytes
			s.look(delivered)
		}
		return s.block != nil
	}
	require.False(t, look(100, muchInTick-1), "with little at a time, for long")
	require.False(t, look(lastingTicks-1, muchInTick), "with much for a moment")
	require.False(t, look(1, 0))
	require.False(t, look(lastingTicks-1, muchInTick), "with much for a moment, again")
	require.True(t, look(1, muchInTick), "with much for longer")
	require.True(t, look(100, 10*muchInTick))
	require.True(t, look(lastingTicks-1, 0), "after a short pause")
	require.True(t, look(1, muchInTick))
	require.True(t, look(lastingTicks-1, 1), "after another")
	require.False(t, look(1, 1), "when little has come for longer")
	require.False(t, look(100, 0))
}

func TestDeliveredBytesAreCounted(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, nil)
	r.start()
	c := e.run(&fakeContainer{})
	e.write(c, "one", "two")
	r.awaitLines(c.id, 2)
	delivered := &r.receiver.(*containerLog).follower.delivered
	waitFor(t, "the count", func() bool { return delivered.Load() >= int64(len("onetwo")) })
	r.stop()
}
