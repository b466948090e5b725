package jsonfile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/logcapture/logcapture/internal/lineformat"
)

const (
	// slack is more than the stamps of two lines can be in the wrong order.
	slack = int64(time.Second)
	// maxGenerations bounds what is opened of a log; the engine keeps as many as its max-file says.
	maxGenerations = 1000
	// patience is how often generations are looked for while the engine moves them.
	patience = 10
)

// generation is one file of a log, open.
type generation struct {
	file   *os.File
	info   os.FileInfo
	packed *gzip.Reader // nil: it is not compressed
	offset int64        // up to where it was read
	first  int64        // stamp of its first line; of one that has none, as if it were the newest
	head   uint64       // hash of its first line; 0: it has none
}

// generations opens the generations of a log, from the youngest to the first for which last holds, and returns them oldest first.
func generations(path string, last func(*generation) bool) (chain []*generation, err error) {
	for range patience {
		chain, err = generationsOnce(path, last)
		if errors.Is(err, fs.ErrNotExist) && exists(path+".1") {
			continue // it was renamed, and the next one is about to be made
		}
		if err != nil {
			return nil, err
		}
		if youngest := chain[len(chain)-1]; youngest.isAt(path) {
			return chain, nil
		}
		// It was rotated meanwhile, and the names of some may have been changed under our hands.
		for _, g := range chain {
			_ = g.close()
		}
	}
	return nil, fmt.Errorf("%w faster than it could be opened", ErrMoved)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func generationsOnce(path string, last func(*generation) bool) (chain []*generation, err error) {
	for i := range maxGenerations {
		name := path
		if i > 0 {
			name += "." + strconv.Itoa(i)
		}
		g, err := open(name)
		if i > 0 && errors.Is(err, fs.ErrNotExist) {
			g, err = open(name + ".gz")
		}
		if i > 0 && errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			for _, g := range chain {
				_ = g.close()
			}
			return nil, err
		}
		if len(chain) > 0 && g.same(chain[len(chain)-1]) {
			_ = g.close()
			continue
		}
		chain = append(chain, g)
		if last(g) {
			break
		}
	}
	slices.Reverse(chain)
	return chain, nil
}

// open opens a file and reads its first line.
func open(name string) (*generation, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	g := &generation{file: file}
	if g.info, err = file.Stat(); err == nil {
		err = g.begin()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	return g, nil
}

// begin reads the first line that is one of the driver's.
func (g *generation) begin() error {
	const enough = 4 * maxLine
	magic := make([]byte, 2)
	if n, _ := g.file.ReadAt(magic, 0); n == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		if err := g.unpack(); err != nil {
			return err
		}
	}
	g.first = 1<<63 - 1
	var from io.Reader = io.NewSectionReader(g.file, 0, enough)
	if g.packed != nil {
		from = io.LimitReader(g.packed, enough)
	}
	parser := lineformat.Parser{Format: lineformat.Docker}
	for lines := bufio.NewReader(from); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // also where the data are bad: what is good of them is found when they are read
		}
		if entry := parser.Parse(line[:len(line)-1]); !entry.Malformed {
			g.first, g.head = entry.Time, max(1, xxhash.Sum64(line))
			break
		}
	}
	if g.packed != nil {
		return g.unpack()
	}
	return nil
}

// unpack begins to read compressed data.
func (g *generation) unpack() (err error) {
	if _, err := g.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	g.packed, err = gzip.NewReader(g.file)
	return err
}

func (g *generation) close() error { return g.file.Close() }

// isAt says that the path leads to this file.
func (g *generation) isAt(path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, g.info)
}

// same says that two generations are one, which may have been compressed meanwhile.
func (g *generation) same(other *generation) bool {
	if (g.packed == nil) == (other.packed == nil) {
		return os.SameFile(g.info, other.info)
	}
	if g.head == 0 || other.head == 0 {
		_ = errors.Join(g.again(), other.again()) // one was empty when it was opened
	}
	return g.head == other.head && g.head != 0
}

// again reads the first line of a file that had none.
func (g *generation) again() error {
	if g.packed != nil || g.head != 0 {
		return nil
	}
	return g.begin()
}

// read reads on. The first bytes of b, which are the last that were read, are read again, so that it shows whether the file is still the same.
func (g *generation) read(b []byte, again int) (n int, err error) {
	if g.packed == nil {
		n, err = g.file.ReadAt(b, g.offset-int64(again))
		g.offset += int64(max(0, n-again))
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return n, err
	}
	n, _ = io.ReadAtLeast(g.packed, b[again:], 1) // its end, or bad data: nothing more can be had of it
	return again + n, nil
}

// seek goes to a place before which all lines are older than a time.
func (g *generation) seek(since int64) error {
	if g.packed != nil {
		return nil // its lines are passed over one by one
	}
	info, err := g.file.Stat()
	if err != nil {
		return err
	}
	const near = 256 << 10
	low, high := int64(0), info.Size() // the line at low is older, or low is the beginning
	buf := make([]byte, near)
	for high-low > near {
		middle := low + (high-low)/2
		at, stamp, err := g.lineBehind(buf, middle)
		switch {
		case err != nil:
			return err
		case at < 0 || at >= high || stamp >= since:
			high = middle
		default:
			low = at
		}
	}
	g.offset = low
	return nil
}

// lineBehind finds the first line that begins behind a place, -1 for none near it.
func (g *generation) lineBehind(buf []byte, place int64) (at, stamp int64, err error) {
	n, err := g.file.ReadAt(buf, place)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, 0, err
	}
	parser := lineformat.Parser{Format: lineformat.Docker}
	rest := buf[:n]
	for {
		feed := bytes.IndexByte(rest, '\n')
		if feed < 0 {
			return -1, 0, nil
		}
		rest = rest[feed+1:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return -1, 0, nil
		}
		if entry := parser.Parse(rest[:end]); !entry.Malformed {
			return place + int64(n-len(rest)), entry.Time, nil
		}
	}
}
