package dockerstream

import "bytes"

// maxRecent bounds the pieces that are remembered. An engine repeats what it has read of the new file until it notices the rotation a
// second time: 1,300 lines were seen on a loaded machine.
const maxRecent = 8192

// recent has the pieces of a connection that came last. An engine that notices a rotation twice sends the new file again from its beginning:
// the same pieces in the same order, whatever part of a line is the first, and also while a line is open.
type recent struct {
	hashes []uint64 // a ring
	next   int      // the place behind the newest
	newest [2]int64 // by stream: newest stamp
	left   int      // pieces that are still to come of a repetition, as many as came behind the one that came again last
}

// again says that the piece with this hash came before; otherwise it is remembered. open says that it can go on an open line.
func (r *recent) again(p Piece, hash uint64, open bool) bool {
	side := p.Stream.side()
	if p.Stamp <= r.newest[side] {
		if r.left > 0 && r.ago(r.left-1) == hash {
			r.left--
			return true
		}
		// A line can have equal pieces, where its text repeats itself.
		if r.left > 0 || !open || !periodic(p.Text) {
			if n := r.find(hash); n >= 0 {
				r.left = n
				return true
			}
		}
	}
	r.left = 0
	r.newest[side] = max(r.newest[side], p.Stamp)
	if len(r.hashes) < maxRecent {
		r.hashes = append(r.hashes, hash)
	} else {
		r.hashes[r.next] = hash
	}
	r.next = (r.next + 1) % maxRecent
	return false
}

// ago returns the piece that came n pieces before the newest.
func (r *recent) ago(n int) uint64 {
	return r.hashes[(r.next-1-n+maxRecent)%maxRecent]
}

// find returns how many pieces came behind the last one of this hash, -1 where there is none.
func (r *recent) find(hash uint64) int {
	for n := range r.hashes {
		if r.ago(n) == hash {
			return n
		}
	}
	return -1
}

// periodic says that the beginning of the text comes again in it, so that equal pieces of a line can be its own.
func periodic(text []byte) bool {
	return len(text) < 2 || bytes.Contains(text[1:], text[:len(text)/2])
}
