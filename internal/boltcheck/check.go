package boltcheck

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

const (
	magic, version = 0xED0CDAED, 2

	headerSize, metaSize, elementSize, bucketSize = 16, 64, 16, 16

	flagBranch, flagLeaf, flagFreelist = 0x01, 0x02, 0x10
	leafBucket                         = 0x01

	noFreelist     = ^uint64(0)
	manyFree       = 0xFFFF // as the count of a freelist page: the number stands before the ids
	leastPage      = 1 << 10
	mostPage       = 16 << 20
	deepest        = 64 // levels of pages and buckets; real trees have a handful
	mostPagesInRow = 1 << 30
)

var order = binary.NativeEndian

// DamagedError says what is wrong with a database. Errors of reading it are of other types.
type DamagedError struct{ What string }

func (e *DamagedError) Error() string { return "damaged database: " + e.What }

func damaged(format string, args ...any) error { return &DamagedError{fmt.Sprintf(format, args...)} }

// Check says what is wrong with a database of size bytes; nil when bbolt can open it.
func Check(r io.ReaderAt, size int64) error {
	m, err := findMeta(r, size)
	if err != nil {
		return err
	}
	c := &checker{r: r, size: size, meta: m, seen: make(map[uint64]bool)}
	if err := c.freelist(); err != nil {
		return err
	}
	return c.tree(m.root, 0, bounds{})
}

type meta struct {
	pageSize                  int64
	root, freelist, end, txid uint64
}

// findMeta returns the meta page that counts. The second is looked for where each size of a page would put it.
func findMeta(r io.ReaderAt, size int64) (*meta, error) {
	first, err := readMeta(r, 0)
	if err != nil {
		return nil, err
	}
	best := first
	for pos := int64(leastPage); pos <= mostPage && pos < size; pos *= 2 {
		if first != nil && pos != first.pageSize {
			continue
		}
		second, err := readMeta(r, pos)
		if err != nil {
			return nil, err
		}
		if second != nil && second.pageSize == pos && (best == nil || second.txid > best.txid) {
			best = second
		}
	}
	switch {
	case best == nil:
		return nil, damaged("neither meta page is valid")
	case size < 2*best.pageSize:
		return nil, damaged("%d bytes are less than its two meta pages", size)
	}
	return best, nil
}

// readMeta returns nil where there is no valid meta page.
func readMeta(r io.ReaderAt, pos int64) (*meta, error) {
	page := make([]byte, headerSize+metaSize)
	if err := readFull(r, page, pos); err != nil {
		return nil, ignoreDamage(err)
	}
	b := page[headerSize:]
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m := &meta{
		pageSize: int64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), end: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
	}
	valid := order.Uint32(b) == magic && order.Uint32(b[4:]) == version && order.Uint64(b[56:]) == sum.Sum64() &&
		m.pageSize >= leastPage && m.pageSize <= mostPage && m.pageSize&(m.pageSize-1) == 0
	if !valid {
		return nil, nil
	}
	return m, nil
}

func ignoreDamage(err error) error {
	var d *DamagedError
	if errors.As(err, &d) {
		return nil
	}
	return err
}

func readFull(r io.ReaderAt, p []byte, pos int64) error {
	if n, err := r.ReadAt(p, pos); n < len(p) {
		if errors.Is(err, io.EOF) {
			return damaged("it ends before byte %d", pos+int64(len(p)))
		}
		return err
	}
	return nil
}

type checker struct {
	r    io.ReaderAt
	size int64
	meta *meta
	seen map[uint64]bool // pages that something refers to
}

// page reads a page with its overflow, and sees to it that nothing else refers to any of it.
func (c *checker) page(id uint64) (*page, error) {
	// Before the multiplication: an id of garbage would overflow.
	if id < 2 || id >= c.meta.end || id > mostPagesInRow {
		return nil, damaged("page %d of %d", id, c.meta.end)
	}
	header := make([]byte, headerSize)
	pos := int64(id) * c.meta.pageSize
	if err := readFull(c.r, header, pos); err != nil {
		return nil, err
	}
	pages := 1 + uint64(order.Uint32(header[12:]))
	if got := order.Uint64(header); got != id {
		return nil, damaged("page %d says that it is page %d", id, got)
	}
	if id+pages > c.meta.end || pos+int64(pages)*c.meta.pageSize > c.size {
		return nil, damaged("page %d of %d pages goes beyond the end", id, pages)
	}
	for i := range pages {
		if c.seen[id+i] {
			return nil, damaged("page %d is referred to twice", id+i)
		}
		c.seen[id+i] = true
	}
	all := io.NewSectionReader(c.r, pos, int64(pages)*c.meta.pageSize)
	p := &page{id: id, flags: order.Uint16(header[8:]), count: int(order.Uint16(header[10:])), all: all, data: make([]byte, c.meta.pageSize)}
	return p, readFull(all, p.data, 0)
}

// freelist checks the list of free pages, which file_storage does not have: bbolt finds them by itself.
func (c *checker) freelist() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	p, err := c.page(c.meta.freelist)
	if err != nil {
		return err
	}
	count, at, room := uint64(p.count), int64(headerSize), uint64(p.all.Size()-headerSize)/8
	if count == manyFree {
		first, err := p.bytes(at, 8)
		if err != nil {
			return err
		}
		count, at, room = order.Uint64(first), at+8, room-1
	}
	if p.flags != flagFreelist || count > room {
		return damaged("page %d is no list of free pages", p.id)
	}
	ids, err := p.bytes(at, int64(count)*8)
	if err != nil {
		return err
	}
	for i := range count {
		if id := order.Uint64(ids[8*i:]); id < 2 || id >= c.meta.end {
			return damaged("page %d of %d is listed as free", id, c.meta.end)
		}
	}
	return nil
}

// bounds are what the branch above promises of the keys of a page: from low, and below high. Nil is no bound.
type bounds struct{ low, high []byte }

// tree checks a page and all below it.
func (c *checker) tree(id uint64, depth int, in bounds) error {
	if depth > deepest {
		return damaged("page %d is too deep", id)
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	return c.elements(p, depth, in)
}

func (c *checker) elements(p *page, depth int, in bounds) error {
	elements, err := p.elements(in)
	if err != nil {
		return err
	}
	for i, e := range elements {
		switch {
		case p.flags == flagBranch:
			below := bounds{e.key, in.high}
			if i+1 < len(elements) {
				below.high = elements[i+1].key
			}
			if err := c.tree(e.child, depth+1, below); err != nil {
				return err
			}
		case e.bucket:
			if err := c.bucket(p, e, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) bucket(in *page, e element, depth int) error {
	value, err := in.bytes(e.value, e.size)
	if err != nil {
		return err
	}
	if len(value) < bucketSize {
		return damaged("a bucket of page %d is cut short", in.id)
	}
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, depth, bounds{})
	}
	inline := value[bucketSize:]
	if len(inline) < headerSize || depth > deepest {
		return damaged("a bucket of page %d is cut short", in.id)
	}
	p := &page{id: in.id, flags: order.Uint16(inline[8:]), count: int(order.Uint16(inline[10:])),
		all: io.NewSectionReader(bytes.NewReader(inline), 0, int64(len(inline))), data: inline}
	if p.flags != flagLeaf {
		return damaged("a bucket within page %d has flags %#x", in.id, p.flags)
	}
	return c.elements(p, depth, bounds{})
}

// page is a branch or a leaf.
type page struct {
	id    uint64
	flags uint16
	count int
	all   *io.SectionReader // with the header, and with the overflow
	data  []byte            // its beginning; large values are never read
}

type element struct {
	key         []byte
	value, size int64 // where the value is in the page
	child       uint64
	bucket      bool
}

// bytes returns a part of the page; one that goes beyond its end is damage.
func (p *page) bytes(at, n int64) ([]byte, error) {
	switch {
	case at < 0 || n < 0 || at+n > p.all.Size():
		return nil, damaged("page %d ends before byte %d", p.id, at+n)
	case at+n <= int64(len(p.data)):
		return p.data[at : at+n], nil
	}
	b := make([]byte, n)
	return b, readFull(p.all, b, at)
}

// elements reads them all, in ascending order of their keys.
func (p *page) elements(in bounds) ([]element, error) {
	if p.flags != flagBranch && p.flags != flagLeaf {
		return nil, damaged("page %d has flags %#x", p.id, p.flags)
	}
	if p.flags == flagBranch && p.count == 0 {
		return nil, damaged("page %d leads nowhere", p.id)
	}
	elements := make([]element, p.count)
	for i := range elements {
		e, err := p.element(int64(headerSize + i*elementSize))
		if err != nil {
			return nil, err
		}
		if i > 0 && bytes.Compare(elements[i-1].key, e.key) >= 0 || i == 0 && in.low != nil && bytes.Compare(e.key, in.low) < 0 ||
			in.high != nil && bytes.Compare(e.key, in.high) >= 0 {
			return nil, damaged("element %d of page %d is out of order", i, p.id)
		}
		elements[i] = e
	}
	return elements, nil
}

func (p *page) element(at int64) (e element, err error) {
	b, err := p.bytes(at, elementSize)
	if err != nil {
		return e, err
	}
	start, key := at, int64(0)
	if p.flags == flagBranch {
		start, key = start+int64(order.Uint32(b)), int64(order.Uint32(b[4:]))
		e.child = order.Uint64(b[8:])
	} else {
		e.bucket = order.Uint32(b)&leafBucket != 0
		start, key, e.size = start+int64(order.Uint32(b[4:])), int64(order.Uint32(b[8:])), int64(order.Uint32(b[12:]))
	}
	e.value = start + key
	if e.value+e.size > p.all.Size() {
		return e, damaged("page %d ends before byte %d", p.id, e.value+e.size)
	}
	e.key, err = p.bytes(start, key)
	return e, err
}
