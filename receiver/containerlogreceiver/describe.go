package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

// describePatience is how long an engine may fail to describe a container before the log is read without.
const describePatience = 5 * time.Second

// describe is a short task that learns about a container from an inspect. It tries until that works, the container is gone or the stream
// has ended. The stream waits for it with an open connection, for that saves time with a container that may not live long; when
// the first try fails, it takes longer, and a connection that is not read loses lines.
//
// A proxy may let no inspect through, and an engine may be stuck with one container. Then the log is read with what lists and events tell,
// unless it is for the inspect to tell whether it is to be read at all.
func (st *stream) describe(ctx context.Context, s *session) {
	ready := sync.OnceFunc(func() { close(st.described) })
	defer ready()
	since := time.Now()
	for wait := (backoff{}); ; {
		info, err := st.inspect(ctx, s)
		if err == nil {
			st.c.learn(info)
			st.f.advise(info)
			if st.undescribed.Swap(false) {
				st.close(errReleased) // how it is read depends on what is known now
			}
			return
		}
		if errors.Is(refine(err), errGone) || ctx.Err() != nil {
			return
		}
		st.tellUndescribed(err)
		pause := wait.next()
		if !st.unclear && (refuses(err) || time.Since(since) >= describePatience) {
			st.undescribed.Store(true)
			ready()
			pause = st.f.config.ResyncInterval
		} else if !st.late.Swap(true) {
			st.close(errReleased)
		}
		if lifecycle.Sleep(ctx, pause) != nil || st.f.awaitUp(ctx) != nil || !st.c.readBy(st) {
			return
		}
		if now := st.f.engine.current.Load(); now != s {
			s, since = now, time.Now() // it may have failed because the engine was about to end
		}
	}
}

// inspect asks for as long as the log can wait for an answer.
func (st *stream) inspect(ctx context.Context, s *session) (container.InspectResponse, error) {
	limit := describePatience
	if st.unclear {
		limit = callTimeout
	}
	return s.inspect(ctx, st.c.id, limit)
}

// refuses says that an error is the answer to all inspects, as that of a proxy which lets none through.
func refuses(err error) bool {
	return errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err) || errdefs.IsInvalidArgument(err)
}

// tellUndescribed says once for each container that it is not described, and once in all where none is.
func (st *stream) tellUndescribed(err error) {
	told := &st.toldUndescribed
	if refuses(err) {
		told = &st.f.toldUndescribed
	}
	if told.Swap(true) {
		return
	}
	then := "its log is read without what only an inspect tells"
	if st.unclear {
		then = "its log is not read before, because the patterns under include and exclude ask for what only an inspect tells"
	}
	st.f.Logger.Warn("The engine does not describe a container; it is asked again, and if that does not help, "+then,
		zap.String("container", st.c.id), zap.Bool("refused_for_all", refuses(err)), zap.Error(err))
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

// condition is what the engine says of the last run of a container.
type condition struct {
	running bool  // and not between two runs
	dead    bool  // the engine has failed to remove it
	began   int64 // Unix nanoseconds; 0: it has never run
}

// unknown is when a run began that only a list tells of.
const unknown = -1

// condition asks for it; a list where inspects do not work.
func (st *stream) condition(ctx context.Context, s *session) (condition, error) {
	if !st.undescribed.Load() {
		info, err := s.inspect(ctx, st.c.id, callTimeout)
		if err != nil {
			return condition{}, err
		}
		state := info.State
		return condition{
			running: state.Running && !state.Restarting,
			dead:    state.Dead && state.Error != "", // without an error it is still being removed
			began:   startOf(info),
		}, nil
	}
	list, err := s.list(ctx, filters.Arg("id", st.c.id))
	if err != nil {
		return condition{}, err
	}
	for i := range list {
		if list[i].ID != st.c.id {
			continue
		}
		switch list[i].State {
		case container.StateRunning, container.StatePaused:
			return condition{running: true, began: unknown}, nil
		case container.StateCreated, stateConfigured:
			return condition{}, nil
		}
		return condition{began: unknown}, nil
	}
	return condition{}, fmt.Errorf("%w: it is not listed", errGone)
}
