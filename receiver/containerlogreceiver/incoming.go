package containerlogreceiver

import (
	"context"
	"errors"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lifecycle"
)

const (
	// busyGap is how soon after a delivery more comes from a container that is busy.
	busyGap = 2 * time.Millisecond
	// leastPause to mostPause is how long its lines are left to gather before they are read.
	leastPause = 250 * time.Microsecond
	mostPause  = 4 * time.Millisecond
	// gatherLimit is how long that may take in all for a batch, and historyLimit for one of lines that are older than history.
	gatherLimit  = 20 * time.Millisecond
	historyLimit = 40 * time.Millisecond
	history      = time.Second
	// goodPieces, or goodBytes of text, is what a pause should bring. A socket of Linux has room for 167 pieces of 200 bytes, and for 176 KB in
	// large ones; an engine that has to wait for room is slow.
	goodPieces = 120
	goodBytes  = 64 << 10
	// manyLines are so many in a batch that the kernel should not tell of each.
	manyLines = 32
	// stored is about what the engine's file has beside the text of a line.
	stored = 80
)

// incoming is the log of a container as it comes on one connection.
//
// An engine sends each line by itself. Who reads as fast as it sends is woken for each, and delivers each alone, which costs many times
// what the line does. So the lines of a busy container are left to gather. Those of a quiet one are delivered as they come.
type incoming struct {
	st      *stream
	session *session
	decoder *dockerstream.Decoder
	body    *logBody
	trouble bool      // the engine could not read all of the log
	busy    bool      // more is likely to come soon
	began   time.Time // when the batch was begun
	handed  time.Time // when the one before was delivered

	pause         time.Duration // the last one
	pieces, bytes int           // that have come since then
}

// next waits for a piece and delivers it, together with what has come with it, or soon comes. request is the context of the connection.
func (in *incoming) next(ctx, request context.Context) error {
	st := in.st
	piece, err := in.decoder.Next()
	st.work.Lock()
	defer st.work.Unlock()
	in.began = time.Now()
	in.busy = in.began.Sub(in.handed) < busyGap
	st.came(in.began)
	for {
		if err := in.take(ctx, piece, err); err != nil {
			return errors.Join(st.deliverAll(ctx), st.cause(request, err))
		}
		switch {
		case st.batch.Full():
			return in.hand(ctx)
		case in.decoder.Buffered():
			piece, err = in.decoder.Next()
		case in.gather(request):
			piece, err = in.decoder.Next()
			st.came(time.Now())
		default:
			return in.hand(ctx)
		}
	}
}

// size returns what the batch may take that begins with the piece.
func (in *incoming) size(piece dockerstream.Piece) int {
	size := 2*(len(piece.Text)+in.decoder.Len()) + in.st.lines.Len()
	if in.busy {
		size += emit.MaxBatchBytes
	}
	return size
}

// gather leaves the engine of a busy container time to send more, and reports whether it has. It does not wait for the rest of a piece.
func (in *incoming) gather(request context.Context) bool {
	limit := gatherLimit
	if in.began.UnixNano()-in.st.last.Load() > int64(history) {
		limit = historyLimit
	}
	if !in.busy || time.Since(in.began) >= limit {
		return false
	}
	brought := max(float64(in.pieces)/goodPieces, float64(in.bytes)/goodBytes)
	in.pause = time.Duration(float64(in.pause) / min(max(brought, 0.5), 2))
	in.pause = min(max(in.pause, leastPause), mostPause)
	in.pieces, in.bytes = 0, 0
	if lifecycle.Sleep(request, in.pause) != nil || !in.body.arrived() {
		return false
	}
	in.st.waiting.Store(0) // the engine does not wait for us: we read on
	return in.decoder.More()
}

// take adds what the decoder gave to the batch. An error ends the connection.
func (in *incoming) take(ctx context.Context, piece dockerstream.Piece, err error) error {
	st := in.st
	if err == nil {
		if st.batch.Len() == 0 {
			if err := st.begin(ctx, in.session, piece, in.size(piece)); err != nil {
				return err
			}
		}
		in.pieces++
		in.bytes += len(piece.Text)
		st.fed.Store(true)
		st.bytes.Add(int64(len(piece.Text)) + stored)
		if err := st.skipped(ctx, in.session, piece); err != nil {
			return err
		}
		if err := st.add(ctx, in.session, piece); err != nil {
			return err
		}
		st.last.Store(piece.Stamp)
		if st.lines.Replaying() {
			st.last.Store(max(piece.Stamp, st.continuity.done))
		}
		return nil
	}
	var message *dockerstream.EngineError
	if errors.As(err, &message) {
		st.f.Logger.Warn("The engine has trouble with the log of a container", zap.String("container", st.c.id), zap.Error(err))
		in.trouble = true
		return nil
	}
	st.whole = errors.Is(err, io.EOF) && !in.trouble
	return err
}

// hand delivers the batch.
func (in *incoming) hand(ctx context.Context) error {
	if in.busy && in.st.batch.Len() >= manyLines {
		in.body.calm()
	}
	deliver := in.st.deliverAll
	if in.decoder.Buffered() {
		deliver = in.st.deliver
	}
	err := deliver(ctx)
	in.handed = time.Now()
	return err
}
