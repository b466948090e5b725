package filetail

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The compressions that a file can have, as configured.
const (
	CompressionNone = ""
	CompressionGzip = "gzip"
	CompressionZstd = "zstd"
	CompressionAuto = "auto"
)

var magics = map[string][]byte{CompressionGzip: {0x1f, 0x8b}, CompressionZstd: {0x28, 0xb5, 0x2f, 0xfd}}

// errUnfinished says that a compressed file ends within its data: it is still being written.
var errUnfinished = errors.New("the compressed data are cut off")

// codec reads the content of a compressed file at offsets of the content. It goes forward; what was just read can be read again.
type codec struct {
	kind   string
	file   *os.File
	stream io.Reader // nil: not begun
	close  func()
	at     int64  // where the stream is
	window []byte // the content right before that
	whole  bool   // the data have come to their proper end
	packed int64  // the size of the file then

	cut   int64     // the size of the file when its data were cut off, 0 when they were not
	again time.Time // when it is worth trying again then
	fault error     // what is wrong with the data behind what was read
}

// compression tells by the first bytes of a file how it is compressed; ok is false while there are too few of them.
func compression(configured string, file io.ReaderAt) (kind string, ok bool, err error) {
	if configured != CompressionAuto {
		return configured, true, nil
	}
	var first [4]byte
	n, err := file.ReadAt(first[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", false, err
	}
	for kind, magic := range magics {
		if bytes.HasPrefix(first[:n], magic) {
			return kind, true, nil
		}
		if bytes.HasPrefix(magic, first[:n]) {
			return "", false, nil
		}
	}
	return "", true, nil
}

// ReadAt reads the content from the offset on. It returns io.EOF at the end of the content, and errUnfinished where the file ends before
// that; then what there is was read, as much as can be known.
func (c *codec) ReadAt(p []byte, offset int64) (n int, err error) {
	if c.stream == nil || offset < c.at-int64(len(c.window)) {
		if err := c.restart(); err != nil {
			return 0, err
		}
	}
	if behind := c.at - offset; behind > 0 {
		n = copy(p, c.window[int64(len(c.window))-behind:])
		if n == len(p) {
			return n, nil
		}
	} else if behind < 0 {
		skipped, err := io.CopyN(io.Discard, c.stream, -behind)
		c.at += skipped
		c.window = c.window[:0]
		if err != nil {
			return 0, c.ended(err)
		}
	}
	for n < len(p) && err == nil {
		var fresh int
		fresh, err = c.stream.Read(p[n:])
		n += fresh
		c.at += int64(fresh)
	}
	c.window = append(c.window[:0], p[:n]...)
	if err != nil && (n < len(p) || !errors.Is(err, io.EOF)) {
		return n, c.ended(err)
	}
	return n, nil
}

// ended tells the end of the content from that of the file.
func (c *codec) ended(err error) error {
	if errors.Is(err, io.EOF) {
		info, statErr := c.file.Stat()
		if statErr != nil {
			return statErr
		}
		c.whole, c.packed = true, info.Size()
		return io.EOF
	}
	c.stop()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errUnfinished
	}
	return err
}

// restart begins at the beginning of the content.
func (c *codec) restart() (err error) {
	c.stop()
	file := io.NewSectionReader(c.file, 0, 1<<62)
	switch c.kind {
	case CompressionZstd:
		var decoder *zstd.Decoder
		// One goroutine would be used by the decoder itself for more; memory is bounded whatever a file claims.
		decoder, err = zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(128<<20))
		if err == nil {
			c.stream, c.close = decoder, decoder.Close
		}
	default:
		var decoder *gzip.Reader
		decoder, err = gzip.NewReader(file)
		if err == nil {
			c.stream, c.close = decoder, func() { _ = decoder.Close() } // it was only read
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errUnfinished // not even its header is there
	}
	return err
}

// stop gives back the memory.
func (c *codec) stop() {
	if c.close != nil {
		c.close()
	}
	c.stream, c.close, c.at, c.window, c.whole = nil, nil, 0, nil, false
}
