package dockertest

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Entry is one line as the engine has it.
type Entry struct {
	Stream string // script.Stdout or script.Stderr
	Stamp  time.Time
	Text   string // without the line feed
}

// Logs returns what the engine has of the container's log, all runs, in the engine's order: the truth a capture is held
// against. Pieces of a line that the engine cut are joined. Logs of a TTY come as stdout, without the carriage return
// that the terminal adds.
func (c *Container) Logs() []Entry {
	c.t.Helper()
	tty := c.Inspect().Config.Tty
	// A log can be long, and the engine busy with those who follow it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 3*callTimeout)
	defer cancel()
	body, err := c.cli.ContainerLogs(ctx, c.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true})
	c.check("read logs of", err)
	defer body.Close()
	read := readFrames
	if tty {
		read = readTTY
	}
	entries, err := read(bufio.NewReaderSize(body, 1<<20))
	c.check("read logs of", err)
	return entries
}

// readFrames decodes Docker's multiplexed format: 8 bytes of header (stream, 0, 0, 0, size), then one stored piece.
func readFrames(r io.Reader) ([]Entry, error) {
	var entries []Entry
	open := map[string]int{} // stream → index of the entry whose line feed has not come
	var header [8]byte
	for {
		if _, err := io.ReadFull(r, header[:]); errors.Is(err, io.EOF) {
			return entries, nil
		} else if err != nil {
			return nil, err
		}
		piece := make([]byte, binary.BigEndian.Uint32(header[4:]))
		if _, err := io.ReadFull(r, piece); err != nil {
			return nil, err
		}
		stream := script.Stdout
		switch header[0] {
		case 1:
		case 2:
			stream = script.Stderr
		default:
			return nil, fmt.Errorf("message from the engine in the log: %s", piece)
		}
		stamp, text, err := cutStamp(string(piece))
		if err != nil {
			return nil, err
		}
		// The pieces of a line carry the stamp of the first; an open last line of a run does not go on in the next.
		i, joins := open[stream]
		if joins = joins && entries[i].Stamp.Equal(stamp); !joins {
			i = len(entries)
			entries = append(entries, Entry{Stream: stream, Stamp: stamp})
		}
		line, whole := strings.CutSuffix(text, "\n")
		entries[i].Text += line
		if open[stream] = i; whole {
			delete(open, stream)
		}
	}
}

// readTTY decodes a log without frames. Lines that the engine cut are not joined: a test that needs them looks at the
// bytes itself.
func readTTY(r io.Reader) ([]Entry, error) {
	var entries []Entry
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			stamp, text, err := cutStamp(line)
			if err != nil {
				return nil, err
			}
			text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
			entries = append(entries, Entry{Stream: script.Stdout, Stamp: stamp, Text: text})
		}
		if errors.Is(err, io.EOF) {
			return entries, nil
		} else if err != nil {
			return nil, err
		}
	}
}

func cutStamp(piece string) (time.Time, string, error) {
	stamp, text, _ := strings.Cut(piece, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return time.Time{}, "", fmt.Errorf("log line %.80q: %w", piece, err)
	}
	return at, text, nil
}
