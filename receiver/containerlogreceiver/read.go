package containerlogreceiver

import (
	"context"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/docker/docker/api/types/container"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/internal/emit"
)

const (
	// releaseAfter is how long a delivery may wait before the connection is closed.
	releaseAfter = time.Second
)

// tails are how many pieces of a log are asked for, one try after the other, before all since the position is: "since" makes the
// engine decode the log from its beginning, a tail does not.
var tails = []int{4096, 8 * 4096}

// read opens the log and delivers what comes, until it ends: with io.EOF when the engine ended it. The next time it can be read from
// elsewhere: the position is the same for both.
func (st *stream) read(ctx context.Context, s *session, follow bool) error {
	if path := st.file(s); path != "" {
		err := st.readFile(ctx, s, path, follow)
		if !errors.Is(err, errNoFile) {
			return err
		}
		st.tell(err)
		if unseen(err, path) {
			st.unseen = err
		}
	}
	return st.readStream(ctx, s, follow)
}

// readStream asks the engine for the log.
func (st *stream) readStream(ctx context.Context, s *session, follow bool) error {
	for try := 0; ; try++ {
		options, err := st.options(ctx, s, try)
		if err != nil {
			return err
		}
		options.Follow = follow
		err = st.readOnce(ctx, s, options)
		if !errors.Is(err, dockerstream.ErrTailShort) {
			return err
		}
	}
}

// options returns what to ask for at the next try.
//
// Engines up to API 1.41 stop at the first compressed file that is older than "since", and that is the oldest: of what was rotated away
// they give nothing then. There "since" is asked for once only, when it is known what has to come first.
func (st *stream) options(ctx context.Context, s *session, try int) (container.LogsOptions, error) {
	options := container.LogsOptions{ShowStdout: st.own.stdout, ShowStderr: st.own.stderr, Timestamps: true, Tail: allOfIt}
	since, begun := st.lines.Window().Since()
	if !begun {
		return options, nil
	}
	st.f.Telemetry.LogcaptureResumes.Add(ctx, 1, st.f.Attributes)
	skips := false
	if s.oldAPI {
		if err := st.awaitDescribed(ctx); err != nil {
			return options, err
		}
		st.c.mu.Lock()
		skips = !st.c.about.plain
		st.c.mu.Unlock()
	}
	known := st.lines.Window().Lines() > 0
	if (known || skips) && try < len(tails) && st.tailless.Load() != s && !s.podman { // whose tail mixes the pieces of long lines
		options.Tail = strconv.Itoa(tails[try])
	}
	if skips && (try > 0 || !known) {
		return options, nil
	}
	if s.podman {
		since-- // there it means: newer than
	}
	options.Since = engineTime(since)
	return options, nil
}

// readOnce reads one connection.
func (st *stream) readOnce(ctx context.Context, s *session, options container.LogsOptions) error {
	request, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	st.mu.Lock()
	st.abort = abort
	st.mu.Unlock()
	if st.late.Load() {
		if err := st.awaitDescribed(request); err != nil {
			return st.cause(request, err)
		}
	}
	if !s.podman { // which says nothing before the first line
		st.asked.Store(st.f.elapsed(time.Now()))
	}
	body, err := logs(request, s.streams, st.c.id, options)
	st.asked.Store(0)
	if err != nil {
		return st.cause(request, err)
	}
	defer body.Close()
	st.failures = 0
	st.last.Store(max(st.last.Load(), st.lines.Window().Newest()))
	st.fed.Store(false)
	st.active.Store(st.f.elapsed(time.Now()))
	defer st.active.Store(0)
	st.waiting.Store(st.f.elapsed(time.Now()))
	err = st.prepare(request, s)
	st.waiting.Store(0)
	if err != nil {
		err = st.cause(request, err)
		if errors.Is(err, errReleased) {
			st.late.Store(true) // the inspect takes too long to hold a connection meanwhile
		}
		return err
	}
	st.work.Lock()
	st.watchOver(s, options.Follow)
	st.lines.Opened(options.Tail != allOfIt)
	st.work.Unlock()
	st.sure = false
	in := &incoming{st: st, session: s, decoder: dockerstream.NewDecoder(body), body: body}
	for {
		if request.Err() != nil {
			return context.Cause(request)
		}
		if err := in.next(ctx, request); err != nil {
			return err
		}
	}
}

// cause returns why a read failed: because we closed the connection, or by itself.
func (st *stream) cause(request context.Context, err error) error {
	if request.Err() != nil {
		return context.Cause(request)
	}
	return err
}

// prepare waits for what decides how pieces are joined and what the lines belong to.
func (st *stream) prepare(ctx context.Context, s *session) error {
	if err := st.awaitDescribed(ctx); err != nil {
		return err
	}
	st.c.mu.Lock()
	driver := st.c.about.driver
	st.c.mu.Unlock()
	st.adviseFiles(driver)
	switch {
	case s.podman:
		st.lines.Join = dockerstream.JoinOpen
	case driver == journald:
		st.lines.Join = dockerstream.JoinSize
	default:
		st.lines.Join = dockerstream.JoinStamp
		st.lines.DropRepeats = s.oldAPI
	}
	return nil
}

// begin prepares the batch for the first piece of some that may take n bytes. Of one that was delivered before nothing is kept: the budget is
// not waited for, because the connection would be closed meanwhile, and all of that come again.
func (st *stream) begin(ctx context.Context, s *session, piece dockerstream.Piece, n int) error {
	st.source = st.f.sourceOf(st.c, s)
	if st.lines.Repeats(piece) && !st.c.noted.Load() {
		return nil
	}
	st.behind.Store(piece.Stamp)
	return st.reserve(ctx, n)
}

// came says when what is added next was read.
func (st *stream) came(now time.Time) {
	st.active.Store(st.f.elapsed(now))
	st.batch.Observe(now)
}

// add adds a piece to the batch, and before it what has happened to the container before it was written.
func (st *stream) add(ctx context.Context, s *session, piece dockerstream.Piece) error {
	if st.c.noted.Load() {
		st.addNotes(s, func(n note) bool { return n.record.Time < piece.Stamp })
	}
	err := st.lines.Add(piece)
	st.countGaps(ctx)
	return err
}

func (st *stream) emit(line dockerstream.Line) {
	record := emit.Record{
		Body: st.batch.Text(line.Text), Time: line.Stamp, Iostream: emit.Stdout, Truncated: line.Truncated,
		Bytes: !utf8.Valid(line.Text), // a string that is none makes backends refuse the whole batch
	}
	if line.Stream == dockerstream.Stderr {
		record.Iostream = emit.Stderr
	}
	st.batch.Add(st.source, &record)
}

// gap puts a record in the place of lines that are lost: the log was rotated or deleted before they could be read. What was told of them
// before is not told again.
func (st *stream) gap(from, to int64) {
	c := &st.continuity
	told := c.toldBehind(from)
	if told >= to {
		return
	}
	c.behind, c.told = from, to
	from = max(from, told)
	attributes := pcommon.NewMap()
	attributes.PutStr("log.gap.from", stamp(from))
	attributes.PutStr("log.gap.to", stamp(to))
	st.gaps++
	st.batch.Add(st.source, &emit.Record{
		Body:  "log lines between " + stamp(from) + " and " + stamp(to) + " are lost",
		Time:  to,
		Event: &emit.Event{Name: "container.log.gap", Attributes: attributes},
	})
}

// countGaps tells the operator what gap has told the user.
func (st *stream) countGaps(ctx context.Context) {
	if st.gaps == 0 {
		return
	}
	st.f.Telemetry.LogcaptureGaps.Add(ctx, st.gaps, st.f.Attributes)
	st.f.Logger.Warn("Lines of a container are lost: its log was rotated away or removed before it could be read", zap.String("container", st.c.id))
	st.gaps = 0
}

// endLost tells that the container was removed before its log was read to its end.
func (st *stream) endLost(ctx context.Context) {
	to := time.Now().UnixNano()
	if st.batch.Len() == 0 {
		st.source = st.f.sourceOf(st.c, st.f.engine.current.Load())
		st.batch.Observe(time.Now())
	}
	from := st.lines.Window().Newest()
	if from == 0 {
		from = to
	}
	st.gap(from, to)
	st.countGaps(ctx)
}

func stamp(nanos int64) string { return time.Unix(0, nanos).UTC().Format(time.RFC3339Nano) }

// close ends the connection; what was read of it is still delivered.
func (st *stream) close(why error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.abort != nil {
		st.abort(why)
	}
}
