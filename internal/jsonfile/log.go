package jsonfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/internal/lineformat"
)

const (
	// bufferMin and bufferMax bound the buffer: quiet logs have a small one. A long line makes it larger for a time.
	bufferMin = 4 << 10
	bufferMax = 256 << 10
	// maxLine bounds a line of the file. The engine's have at most 16 KiB of text, each byte of which is escaped by at most six, and attributes.
	maxLine = 2 << 20
	// guardSize is how much before the place of a file is read again, to see that it is still the same.
	guardSize = 64
	// maxAhead is how many generations are opened before their turn. A pipeline that takes nothing must not keep the disk from being freed.
	maxAhead = 8
)

// ErrMoved says that what follows the place up to which the log was read is not there any more. The log is to be opened again.
var ErrMoved = errors.New("the log was rotated away or truncated")

// Log is the log of one container. It is used by one goroutine at a time, but for Look.
type Log struct {
	// Terminal says that the container's output is that of a terminal.
	Terminal bool
	// Stdout and Stderr say what is wanted.
	Stdout, Stderr bool

	path      string
	since     int64 // pieces before the first that is not older are passed over; 0: none is
	parser    lineformat.Parser
	buf       []byte // of the first generation; what is before pos is the guard
	pos, end  int
	scanned   int  // of buf[pos:end], without a line feed
	skipping  bool // within a line that is too long
	malformed int64
	reads     int

	mu     sync.Mutex // guards chain and broken
	chain  []*generation
	broken bool // what follows the first generation is lost
}

// Open opens the log at its first piece that is not older than a time in Unix nanoseconds; 0 is the beginning.
func Open(path string, since int64) (*Log, error) {
	l := &Log{path: path, since: since, parser: lineformat.Parser{Format: lineformat.Docker, KeepReturn: true}}
	chain, err := generations(path, func(g *generation) bool { return since > 0 && g.first < since })
	if err != nil {
		return nil, err
	}
	l.chain = chain
	if since > 0 {
		if err := chain[0].seek(since - slack); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// Close closes the files.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, g := range l.chain {
		errs = append(errs, g.close())
	}
	l.chain = nil
	return errors.Join(errs...)
}

// Malformed returns how many lines were passed over since it was called last, because they are not what the driver writes.
func (l *Log) Malformed() int64 {
	n := l.malformed
	l.malformed = 0
	return n
}

// Reads returns how often more of the log was read.
func (l *Log) Reads() int { return l.reads }

// Buffered returns how many bytes are read and not taken.
func (l *Log) Buffered() int { return l.end - l.pos }

// Held returns how many files are open.
func (l *Log) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.chain)
}

// Next returns the next piece, whose text is valid until the next call. io.EOF means that there is no more of them for now.
func (l *Log) Next() (dockerstream.Piece, error) {
	for {
		line, ok := l.line()
		if !ok {
			if err := l.fill(); err != nil {
				return dockerstream.Piece{}, err
			}
			continue
		}
		entry := l.parser.Parse(line)
		switch {
		case entry.Malformed:
			l.malformed++
			continue
		case entry.Time < l.since:
			continue
		}
		l.since = 0
		piece := dockerstream.Piece{Stamp: entry.Time, Text: entry.Text, Open: entry.Partial}
		switch {
		case entry.Stream == lineformat.Stdout && l.Stdout:
			if l.Terminal {
				piece.Stream = dockerstream.Terminal
			}
			return piece, nil
		case entry.Stream == lineformat.Stderr && l.Stderr:
			piece.Stream = dockerstream.Stderr
			return piece, nil
		}
	}
}

// line takes the next line out of the buffer.
func (l *Log) line() (line []byte, ok bool) {
	for {
		have := l.buf[l.pos:l.end]
		end := bytes.IndexByte(have[l.scanned:], '\n')
		if end < 0 {
			if l.scanned = len(have); l.scanned > maxLine {
				l.skipping, l.pos, l.scanned = true, l.end, 0
			}
			return nil, false
		}
		end += l.scanned
		l.pos, l.scanned = l.pos+end+1, 0
		if !l.skipping {
			return have[:end], true
		}
		l.skipping = false
		l.malformed++
	}
}

// fill reads more of the log. io.EOF means that there is nothing more for now.
func (l *Log) fill() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	for {
		if len(l.chain) == 0 {
			return io.ErrClosedPipe
		}
		n, err := l.read()
		if n > 0 || err != nil {
			return err
		}
		if len(l.chain) == 1 && !l.broken {
			if err := l.look(); err != nil {
				return err
			}
			if len(l.chain) == 1 && !l.broken {
				return io.EOF
			}
		}
		// There is a younger generation: now nothing more is written to this one.
		if n, err := l.read(); n > 0 || err != nil {
			return err
		}
		if l.end > l.pos || l.skipping {
			l.malformed++
		}
		if l.broken {
			return ErrMoved
		}
		_ = l.chain[0].close() // it was only read
		l.chain = slices.Delete(l.chain, 0, 1)
		l.pos, l.end, l.scanned, l.skipping = 0, 0, 0, false
	}
}

// read reads once from the oldest generation, and returns 0 at its end.
func (l *Log) read() (n int, err error) {
	l.room()
	guard := min(l.end, guardSize)
	var before [guardSize]byte
	copy(before[:], l.buf[l.end-guard:l.end])
	n, err = l.chain[0].read(l.buf[l.end-guard:], guard)
	if n < guard || !bytes.Equal(before[:guard], l.buf[l.end-guard:l.end]) {
		return 0, errors.Join(ErrMoved, err)
	}
	l.end += n - guard
	return n - guard, err
}

// room makes free space in the buffer.
func (l *Log) room() {
	keep := max(0, min(l.pos, l.end-guardSize)) // from there on it stays: the guard, and what is not taken
	have, size := l.end-keep, len(l.buf)
	switch {
	case size == 0:
		size = bufferMin
	case l.end == size && (size < bufferMax || have > size/2): // the last read has filled it: there is more
		size *= 2
	case size > bufferMax && have < bufferMax/2: // a long line is over
		size = bufferMax
	case size-l.end >= size/2:
		return
	}
	old := l.buf[keep:l.end]
	if size != len(l.buf) {
		l.buf = make([]byte, size)
	}
	l.end = copy(l.buf, old)
	l.pos -= keep
}

// Rest gives back memory of a log that will have nothing more for some time.
func (l *Log) Rest() {
	l.parser.Trim()
	keep := max(0, min(l.pos, l.end-guardSize))
	if len(l.buf) <= bufferMin || l.end-keep > bufferMin/2 {
		return
	}
	small := make([]byte, bufferMin)
	l.end = copy(small, l.buf[keep:l.end])
	l.buf, l.pos = small, l.pos-keep
}

// Look opens what has become of the log since it was looked at last, so that it cannot be deleted before it is read. It may be called at any
// time. What goes wrong is found by Next.
func (l *Log) Look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.chain) > 0 && len(l.chain) < maxAhead {
		_ = l.look() // again when it matters
	}
}

// look appends the younger generations to the chain.
func (l *Log) look() error {
	newest := l.chain[len(l.chain)-1]
	if l.broken || newest.isAt(l.path) {
		return nil
	}
	younger, err := generations(l.path, func(g *generation) bool { return g.same(newest) })
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrMoved) {
		return nil // the next one is about to be made, or the container is removed
	}
	if err != nil {
		return err
	}
	found := younger[0].same(newest)
	if found {
		_ = younger[0].close() // is held already
		younger = younger[1:]
	}
	// Where the engine keeps one file, the next one takes its place, and no name leads to this one any more.
	l.broken = !found && len(younger) > 1
	if l.broken {
		for _, g := range younger {
			_ = g.close()
		}
		return nil
	}
	l.chain = append(l.chain, younger...)
	return nil
}
