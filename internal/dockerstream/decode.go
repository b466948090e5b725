package dockerstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/logcapture/logcapture/internal/lineformat"
)

const (
	// pieceSize is where the engine cuts a line.
	pieceSize = 16 << 10
	// maxPiece bounds a frame. Some log drivers have larger pieces than 16 KiB; the engine refuses messages beyond 1 MB.
	maxPiece = 2 << 20
	// bufferMin and bufferMax bound the buffer of a stream: quiet ones are small, busy ones grow. A larger piece makes it larger for a time.
	bufferMin = 4 << 10
	bufferMax = 64 << 10
	headerLen = 8
	// stampMax is the longest stamp: nine digits and a zone offset, as Podman writes it. Docker's has always 30 bytes, in UTC.
	stampMax = len("2006-01-02T15:04:05.000000000+07:00")
)

// Stream is where a piece was written to.
type Stream uint8

// The streams of a container. With a terminal there is one only.
const (
	Stdout Stream = iota
	Stderr
	Terminal
)

// Piece is one stored record of the engine: a line, or a part of one.
type Piece struct {
	Stream Stream
	// Open says that no line feed ended it.
	Open  bool
	Stamp int64  // nanoseconds since the Unix epoch
	Text  []byte // without the line feed; valid until the next call
}

// EngineError is a message of the engine within the stream: it could not read the log, in whole or in part. The stream may go on.
type EngineError struct{ Message string }

func (e *EngineError) Error() string { return "message from the engine: " + e.Message }

// FormatError says that the stream is not what an engine sends. Nothing can be read behind it: it has to be opened again.
type FormatError struct{ Problem string }

func (e *FormatError) Error() string { return "unexpected log stream: " + e.Problem }

// Decoder cuts the body of a logs request with timestamps into pieces. Whether it is multiplexed, or is the output of a terminal, it
// tells by the first byte: a stream number, or the first digit of a year.
type Decoder struct {
	r        io.Reader
	buf      []byte
	pos, end int
	err      error // from r; reported when all before it is taken
	sniffed  bool
	terminal bool
	loose    bool  // terminal: the next piece goes on without a stamp
	stamp    int64 // terminal: of the piece before
	clock    lineformat.Clock
}

// NewDecoder makes a decoder of r.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: r} }

// Next returns the next piece. io.EOF is an end between two pieces, io.ErrUnexpectedEOF one within. It may block in the Read of the
// body, but not when Buffered said true.
func (d *Decoder) Next() (Piece, error) {
	if !d.sniffed {
		if err := d.fill(1); err != nil {
			return Piece{}, err
		}
		d.terminal = d.buf[d.pos] >= '0' // also text of an error in place of the output of a terminal
		d.sniffed = true
	}
	if d.terminal {
		return d.nextTerminal()
	}
	return d.nextFrame()
}

// Len returns the bytes that are buffered.
func (d *Decoder) Len() int { return d.end - d.pos }

// Buffered says that Next returns without a Read.
func (d *Decoder) Buffered() bool {
	have := d.buf[d.pos:d.end]
	if !d.sniffed || d.err != nil {
		return len(have) > 0 && d.err != nil
	}
	if d.terminal {
		return bytes.IndexByte(have, '\n') >= 0 || len(have) > pieceSize+2*(stampMax+1)
	}
	if len(have) < headerLen {
		return false
	}
	size := binary.BigEndian.Uint32(have[4:])
	return size > maxPiece || len(have)-headerLen >= int(size)
}

// More does one Read, which may block, and reports whether Next returns without another. An error of it comes with Next.
func (d *Decoder) More() bool {
	if d.err == nil {
		d.read()
	}
	return d.Buffered()
}

func (d *Decoder) nextFrame() (Piece, error) {
	if err := d.fill(headerLen); err != nil {
		return Piece{}, err
	}
	header := d.buf[d.pos : d.pos+headerLen]
	kind, size := header[0], binary.BigEndian.Uint32(header[4:])
	if kind > 3 || header[1]|header[2]|header[3] != 0 || size > maxPiece {
		return Piece{}, &FormatError{fmt.Sprintf("frame header % x", header)}
	}
	if err := d.fill(headerLen + int(size)); err != nil {
		return Piece{}, err
	}
	content := d.buf[d.pos+headerLen : d.pos+headerLen+int(size)]
	d.pos += headerLen + int(size)
	if kind == 3 {
		return Piece{}, &EngineError{string(bytes.TrimSpace(content))}
	}
	stamp, text, ok := d.cutStamp(content)
	if !ok {
		return Piece{}, &FormatError{fmt.Sprintf("no timestamp in %.60q", content)}
	}
	p := Piece{Stream: Stdout, Stamp: stamp, Text: text, Open: true}
	if kind == 2 {
		p.Stream = Stderr
	}
	if n := len(text); n > 0 && text[n-1] == '\n' {
		p.Text, p.Open = text[:n-1], false
	}
	return p, nil
}

// cutStamp splits the stamp and the blank behind it off the front of a piece.
func (d *Decoder) cutStamp(piece []byte) (stamp int64, text []byte, ok bool) {
	stamp, n := d.clock.Stamp(piece)
	if n == 0 || n > stampMax || n >= len(piece) || piece[n] != ' ' {
		return 0, nil, false
	}
	return stamp, piece[n+1:], true
}

// fill reads until n bytes are buffered. The buffer grows with what has come and not with what was announced.
func (d *Decoder) fill(n int) error {
	for d.end-d.pos < n {
		if d.err != nil {
			if d.err == io.EOF && d.end > d.pos { //nolint:errorlint // an io.Reader returns it as it is
				return io.ErrUnexpectedEOF
			}
			return d.err
		}
		d.read()
	}
	return nil
}

// read does one Read into free space, which it makes.
func (d *Decoder) read() {
	if d.pos == d.end {
		d.pos, d.end = 0, 0
		if len(d.buf) > bufferMax {
			d.buf = nil // a large piece is over
		}
	}
	switch {
	case d.buf == nil:
		d.buf = make([]byte, bufferMin)
	case d.end == len(d.buf) && d.pos > len(d.buf)/2:
		d.end = copy(d.buf, d.buf[d.pos:d.end])
		d.pos = 0
	case d.end == len(d.buf):
		grown := make([]byte, 2*len(d.buf))
		d.end = copy(grown, d.buf[d.pos:d.end])
		d.buf, d.pos = grown, 0
	}
	for range 100 { // a Reader may return nothing, but not for ever
		n, err := d.r.Read(d.buf[d.end:])
		d.end += n
		d.err = err
		// A Read that fills most of the buffer says that there is more: take it in larger blocks.
		if size := len(d.buf); d.end == size && n > size/2 && size < bufferMax {
			d.buf = append(make([]byte, 0, 2*size), d.buf...)[:2*size]
		}
		if n > 0 || err != nil {
			return
		}
	}
	d.err = io.ErrNoProgress
}

// nextTerminal cuts the next stored record out of bare bytes: a stamp, and text up to a line feed, or 16 KiB of it and then a stamp.
func (d *Decoder) nextTerminal() (Piece, error) {
	for {
		have, final := d.buf[d.pos:d.end], d.err != nil
		if len(have) == 0 && final {
			return Piece{}, d.err
		}
		p, size, err := d.cutTerminal(have, final)
		if size > 0 || err != nil {
			d.pos += size
			return p, err
		}
		if final && d.err != io.EOF { //nolint:errorlint // an io.Reader returns it as it is
			return Piece{}, d.err // cut within a record
		}
		d.read()
	}
}

// cutTerminal returns a record and the bytes that it takes, 0 where more have to be read. final says that there are no more.
func (d *Decoder) cutTerminal(have []byte, final bool) (p Piece, size int, err error) {
	text := have
	if !d.loose {
		if len(have) <= stampMax && !final && bytes.IndexByte(have, '\n') < 0 {
			return Piece{}, 0, nil
		}
		var ok bool
		if d.stamp, text, ok = d.cutStamp(have); !ok {
			return d.cutMessage(have, final)
		}
	}
	taken := len(have) - len(text)
	p = Piece{Stream: Terminal, Stamp: d.stamp}
	limit := pieceSize
	if d.loose {
		limit = bufferMax
	}
	end := bytes.IndexByte(text[:min(len(text), limit)], '\n')
	switch {
	case end >= 0:
		p.Text = text[:end]
		d.loose = false
		return p, taken + end + 1, nil
	case len(text) < limit+stampMax+1 && !final:
		return Piece{}, 0, nil
	case len(text) <= limit:
		if d.err != io.EOF { //nolint:errorlint // an io.Reader returns it as it is
			return Piece{}, 0, nil
		}
		p.Text, p.Open = text, true
	default:
		// The engine ends a record here. Another one may cut elsewhere: then no stamp follows, and the text goes on.
		p.Text, p.Open = text[:limit], true
		_, _, stamped := d.cutStamp(text[limit:])
		d.loose = !stamped
	}
	return p, taken + len(p.Text), nil
}

// cutMessage takes a line without a stamp: an error of the engine, which it writes into the output of a terminal as it is.
func (d *Decoder) cutMessage(have []byte, final bool) (Piece, int, error) {
	end := bytes.IndexByte(have, '\n')
	switch {
	case end < 0 && len(have) < bufferMax && (!final || d.err != io.EOF): //nolint:errorlint // an io.Reader returns it as it is
		return Piece{}, 0, nil
	case end < 0:
		end = len(have) - 1
	}
	line := have[:end+1]
	if bytes.HasPrefix(line, []byte("Error ")) || bytes.HasPrefix(line, []byte("error ")) {
		return Piece{}, end + 1, &EngineError{string(bytes.TrimSpace(line))}
	}
	return Piece{}, end + 1, &FormatError{fmt.Sprintf("no timestamp in %.60q", line)}
}
