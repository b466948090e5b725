package ballast

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBallastIsHeldWhileMuchIsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g := NewGauge()
		done := make(chan struct{})
		go func() {
			defer close(done)
			g.Run(ctx)
		}()
		// deliver adds bytes for so many tenths of a second.
		deliver := func(tenths, bytes int) bool {
			for range tenths {
				g.Add(bytes)
				time.Sleep(100 * time.Millisecond)
			}
			synctest.Wait()
			return Held()
		}
		const enough = much * step / 10
		require.False(t, deliver(100, enough/2), "little, for long")
		require.False(t, deliver(20, 0))
		require.False(t, deliver(1, much*step), "much, for a moment")
		require.False(t, deliver(20, 0))
		require.True(t, deliver(5, 3*enough), "a busy time")
		require.True(t, deliver(100, 10*enough))
		require.True(t, deliver(15, 0), "a pause")
		require.True(t, deliver(20, 3*enough))
		require.False(t, deliver(45, 1), "little again")
		require.True(t, deliver(2, much*step), "a busy time that begins with a burst")
		cancel()
		<-done
		require.False(t, Held(), "the end")
	})
}

func TestBallastIsOfTheProcess(t *testing.T) {
	hold()
	hold()
	release()
	require.True(t, Held(), "one of two has a busy time still")
	release()
	require.False(t, Held())
}
