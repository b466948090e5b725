package containerlogreceiver

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

// describe is a short task that learns about a container from an inspect. It tries until that works, the container is gone or the stream
// has ended. The stream waits for it with an open connection, for that saves time with a container that may not live long; when
// the first try fails, it takes longer, and a connection that is not read loses lines.
func (st *stream) describe(ctx context.Context, s *session) {
	defer close(st.described)
	for wait := (backoff{}); ; s = st.f.engine.current.Load() {
		info, err := s.inspect(ctx, st.c.id)
		if err == nil {
			st.c.learn(info)
			st.f.advise(info)
			return
		}
		if errors.Is(refine(err), errGone) || ctx.Err() != nil {
			return
		}
		if !st.late.Swap(true) {
			st.f.Logger.Warn("The engine does not describe a container; it is asked again, and the log is read then",
				zap.String("container", st.c.id), zap.Error(err))
			st.close(errReleased)
		}
		if lifecycle.Sleep(ctx, wait.next()) != nil || st.f.awaitUp(ctx) != nil || !st.c.readBy(st) {
			return
		}
	}
}

// awaitDescribed waits for the inspect.
func (st *stream) awaitDescribed(ctx context.Context) error {
	select {
	case <-st.described:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
