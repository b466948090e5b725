package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/jsonfile"
)

// jsonFile is the log driver whose files are read.
const jsonFile = "json-file"

var (
	errNoFile      = errors.New("the engine's file of the log cannot be read here")
	errUndescribed = fmt.Errorf("%w: its log driver is not known", errNoFile)
)

// file returns where the engine writes the log, as seen from here; empty where that is not to be looked for.
func (st *stream) file(s *session) string {
	f := st.f
	// With a root path the files of an engine elsewhere are looked for too: the id in their path says that they are this engine's.
	if f.bell == nil || s.podman || (f.config.ReadFrom == readAuto && f.config.RootPath == "" && !f.engine.address.local()) {
		return ""
	}
	st.c.mu.Lock()
	driver, path := st.c.about.driver, st.c.about.logPath
	st.c.mu.Unlock()
	switch {
	case st.undescribed.Load():
		st.tell(errUndescribed)
		return ""
	case driver != "" && driver != jsonFile:
		st.tell(fmt.Errorf("%w: its log driver is %s", errNoFile, driver))
		return ""
	case path == "" && s.root == "":
		return ""
	case path == "":
		// The inspect is under way, and a container may not live that long. The driver is json-file when this file is there.
		path = filepath.Join(s.root, "containers", st.c.id, st.c.id+"-json.log")
	}
	return filepath.Join(f.config.RootPath, path)
}

// tell says once that a container's log is asked for although files were.
func (st *stream) tell(err error) {
	if st.told || st.f.config.ReadFrom != readFiles {
		return
	}
	st.told = true
	st.f.Logger.Warn("The log of a container is read through the engine's API", zap.String("container", st.c.id), zap.Error(err))
}

// adviseFiles tells once that files are not seen here which would be read: not of one log driver. It is called when the engine has opened the log,
// so that the container is there.
func (st *stream) adviseFiles(driver string) {
	err := st.unseen
	st.unseen = nil
	f := st.f
	if err != nil && driver == jsonFile && f.config.ReadFrom == readAuto && !f.advisedFiles.Swap(true) {
		f.Logger.Info("The engine's files cannot be read here, so that logs are read through its API, which costs more", zap.Error(err))
	}
}

// unseen says that the engine's files cannot be read here, or that this is not where the engine has them: a container has its directory. In
// that, the file itself can be missing for a moment.
func unseen(err error, path string) bool {
	if errors.Is(err, fs.ErrPermission) {
		return true
	}
	_, err = os.Stat(filepath.Dir(path))
	return err != nil
}

// readFile is readStream from the engine's file. While nothing can be delivered, the file waits.
func (st *stream) readFile(ctx context.Context, s *session, path string, follow bool) error {
	request, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	st.mu.Lock()
	st.abort = abort
	st.mu.Unlock()
	since, begun := st.lines.Window().Since()
	log, err := jsonfile.Open(path, since)
	if errors.Is(err, jsonfile.ErrMoved) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoFile, err)
	}
	defer log.Close() //nolint:errcheck // it was only read
	if begun {
		st.f.Telemetry.LogcaptureResumes.Add(ctx, 1, st.f.Attributes)
	}
	if err := st.prepare(ctx, s); err != nil {
		return err
	}
	st.c.mu.Lock()
	about := st.c.about
	st.c.mu.Unlock()
	if st.undescribed.Load() {
		return errUndescribed
	}
	if about.driver != "" && about.driver != jsonFile {
		return fmt.Errorf("%w: its log driver is %s", errNoFile, about.driver)
	}
	log.Terminal, log.Stdout, log.Stderr = about.terminal, st.own.stdout, st.own.stderr
	st.work.Lock()
	st.lines.DropRepeats = false // those are made by the engine's reading
	st.lines.Opened(false)
	st.work.Unlock()
	st.sure = false
	st.active.Store(st.f.elapsed(time.Now()))
	defer st.active.Store(0)
	st.log.Store(log)
	defer st.log.Store(nil)
	return st.follow(request, s, log, &pause{bell: st.f.bell, directory: filepath.Dir(path), c: st.c, resting: &st.resting}, follow)
}

// follow delivers what the file has, and what comes to it until the container has ended.
func (st *stream) follow(ctx context.Context, s *session, log *jsonfile.Log, wait *pause, follow bool) error {
	defer wait.reset(0)
	for {
		// The engine tells of the end when all is written. So what is read after that is all.
		ended := !follow || !st.c.state().running
		got, err := st.drain(ctx, s, log)
		switch {
		case err != nil:
			return st.cause(ctx, err)
		case got > 0:
			wait.reset(got)
		case ended:
			st.sure, st.whole = true, true
			return io.EOF
		default:
			if err := wait.next(ctx, log); err != nil {
				return st.cause(ctx, err)
			}
		}
	}
}

// drain delivers all that the file has for now, and returns how many pieces that was.
func (st *stream) drain(ctx context.Context, s *session, log *jsonfile.Log) (got int, err error) {
	st.work.Lock()
	defer st.work.Unlock()
	for reads := 0; ; {
		piece, err := log.Next()
		if n := log.Malformed(); n > 0 {
			st.passedOver(ctx, n)
		}
		if errors.Is(err, io.EOF) {
			return got, st.deliverAll(ctx)
		}
		if err != nil {
			return got, errors.Join(st.deliverAll(ctx), err)
		}
		got++
		if st.batch.Len() == 0 {
			// Where the buffer is not small, there is more than it holds.
			n := emit.MaxBatchBytes
			if log.Buffered() < smallBuffer {
				n = 2 * (len(piece.Text) + log.Buffered())
			}
			if err := st.begin(ctx, s, piece, n+st.lines.Len()); err != nil {
				return got, err
			}
			st.came(time.Now())
		} else if log.Reads() != reads {
			st.came(time.Now())
		}
		reads = log.Reads()
		if err := st.add(ctx, s, piece); err != nil {
			return got, errors.Join(st.deliver(ctx), err)
		}
		if st.batch.Full() || int64(st.batch.Bytes()) > max(st.held, smallBuffer) {
			if err := st.deliver(ctx); err != nil {
				return got, err
			}
		}
	}
}

// smallBuffer is what a quiet log has to read at a time.
const smallBuffer = 4 << 10

// passedOver tells of lines in the file that the engine did not write like that: the disk was full, or the machine was switched off.
func (st *stream) passedOver(ctx context.Context, n int64) {
	st.f.Telemetry.LogcaptureRecordsMalformed.Add(ctx, n, st.f.Attributes)
	st.f.Logger.Warn("Lines in the engine's file are damaged and are passed over", zap.String("container", st.c.id), zap.Int64("lines", n))
}
