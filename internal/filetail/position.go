package filetail

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/logcapture/logcapture/internal/lineformat"
)

const (
	// PositionFormat is the version of the encoding of a position.
	PositionFormat = 1

	// headSize is how much of the beginning of a file is evidence of its identity.
	headSize = 1024
	// guardSize is how much before an offset is evidence that the content before it is the one that was read.
	guardSize = 64
)

// id is what the file system calls a file: device and inode, or volume and file index on Windows.
type id struct{ device, inode uint64 }

// idOfName stands for the id of a file where only its path is stable.
func idOfName(path string) id { return id{0, xxhash.Sum64String(path)} }

func (i id) key() string { return fmt.Sprintf("file/%x/%x", i.device, i.inode) }

// idOfKey is the reverse of key; the zero id for another kind of key.
func idOfKey(key string) (i id) {
	if n, err := fmt.Sscanf(key, "file/%x/%x", &i.device, &i.inode); n != 2 || err != nil {
		return id{}
	}
	return i
}

// evidence is a hash over a part of a file that was read.
type evidence struct {
	size int // bytes; 0 proves nothing
	hash uint64
}

func evidenceOf(content []byte) evidence {
	if len(content) == 0 {
		return evidence{}
	}
	return evidence{len(content), xxhash.Sum64(content)}
}

// position is where the next line of a file begins, with what proves that it is still that file. The content is evidence only: files
// with the same beginning are told apart by their id.
type position struct {
	id     id
	path   string // under which the file was found first; its name for the records
	at     string // where it was last, if that is not path
	offset int64  // bytes; of a compressed file: of its content
	number int64  // records before offset
	head   evidence
	guard  evidence // of the bytes right before offset
	born   int64    // when the file was created, nanoseconds; 0 for unknown
	packed int64    // size of a compressed file all of which was read; 0 for any other
	gone   int64    // since when nothing is known that has the content, seconds; 0 while something has
	open   string   // lines before offset that are not delivered, as lineformat.AppendOpen has them; empty for none
}

// where is the path to look for the file.
func (p *position) where() string { return cmp.Or(p.at, p.path) }

// opensHere says that text which is open is in the file itself.
func (p *position) opensHere() bool {
	open, _, err := lineformat.DecodeOpen([]byte(p.open))
	return p.open != "" && err == nil && slices.ContainsFunc(open, func(o lineformat.Open) bool { return o.At >= 0 })
}

// onlyText says that nothing was read of the file, and that it was left text by others, which nothing else has.
func (p *position) onlyText() bool { return p.offset == 0 && p.open != "" }

// otherThan says that the position is of another file than the one with the same id that was created then.
func (p *position) otherThan(born int64) bool { return p.born != 0 && born != 0 && p.born != born }

// encode writes the position in the order of its fields: integers as uvarint, texts with their lengths before them.
func (p *position) encode() []byte {
	buf := make([]byte, 0, 64+len(p.path))
	buf = binary.AppendUvarint(buf, p.id.device)
	buf = binary.AppendUvarint(buf, p.id.inode)
	buf = binary.AppendUvarint(buf, uint64(len(p.path)))
	buf = append(buf, p.path...)
	buf = binary.AppendUvarint(buf, uint64(len(p.at)))
	buf = append(buf, p.at...)
	for _, n := range []int64{p.offset, p.number, p.born, p.packed, p.gone} {
		buf = binary.AppendUvarint(buf, uint64(n))
	}
	for _, e := range []evidence{p.head, p.guard} {
		buf = binary.AppendUvarint(buf, uint64(e.size))
		buf = binary.AppendUvarint(buf, e.hash)
	}
	buf = binary.AppendUvarint(buf, uint64(len(p.open)))
	return append(buf, p.open...)
}

var errPosition = errors.New("stored position is cut or out of range")

// decodePosition is the reverse of encode. Bytes behind the known fields are an error: another version would have another format.
func decodePosition(buf []byte) (position, error) {
	var p position
	var bad bool
	next := func(limit uint64) uint64 {
		v, n := binary.Uvarint(buf)
		if n <= 0 || v > limit {
			bad, buf = true, nil
			return 0
		}
		buf = buf[n:]
		return v
	}
	text := func() (s string) {
		length := next(uint64(len(buf)))
		if length > uint64(len(buf)) {
			bad, length = true, 0
		}
		s, buf = string(buf[:length]), buf[length:]
		return s
	}
	const anything, signed = ^uint64(0), 1<<63 - 1
	p.id = id{next(anything), next(anything)}
	p.path, p.at = text(), text()
	for _, n := range []*int64{&p.offset, &p.number, &p.born, &p.packed, &p.gone} {
		*n = int64(next(signed))
	}
	p.head = evidence{int(next(headSize)), next(anything)}
	p.guard = evidence{int(next(guardSize)), next(anything)}
	p.open = text()
	if bad || len(buf) > 0 {
		return position{}, errPosition
	}
	if p.open != "" {
		if _, rest, err := lineformat.DecodeOpen([]byte(p.open)); err != nil || len(rest) > 0 {
			return position{}, errPosition
		}
	}
	return p, nil
}
