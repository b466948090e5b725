package dockerstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is one stored piece of an imitated engine.
type record struct {
	stream Stream
	stamp  int64
	text   string // with its line feed
}

const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

func (r record) stored() string {
	return time.Unix(0, r.stamp).UTC().Format(stampLayout) + " " + r.text
}

// frames writes records as the engine multiplexes them.
func frames(records ...record) []byte {
	var b bytes.Buffer
	for _, r := range records {
		content := r.stored()
		header := [8]byte{byte(r.stream) + 1}
		binary.BigEndian.PutUint32(header[4:], uint32(len(content)))
		b.Write(header[:])
		b.WriteString(content)
	}
	return b.Bytes()
}

// bare writes records as they come from a terminal.
func bare(records ...record) []byte {
	var b bytes.Buffer
	for _, r := range records {
		b.WriteString(r.stored())
	}
	return b.Bytes()
}

// cut makes pieces of a line as the engine does: 16 KiB each, all with the stamp of the first.
func cut(stream Stream, stamp int64, line string) (records []record) {
	for len(line) > pieceSize {
		records = append(records, record{stream, stamp, line[:pieceSize]})
		line = line[pieceSize:]
	}
	if line == "" {
		return records
	}
	return append(records, record{stream, stamp, line})
}

// slow returns n bytes at a time.
type slow struct {
	data []byte
	n    int
	err  error
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		return 0, io.EOF
	}
	n := copy(p, s.data[:min(s.n, len(s.data))])
	s.data = s.data[n:]
	return n, nil
}

func (p Piece) String() string {
	return fmt.Sprintf("%d %d %v %q", p.Stream, p.Stamp, p.Open, p.Text)
}
