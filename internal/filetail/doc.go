// Package filetail reads log files through every rotation.
//
//	discovery ──► files ──► ready queue ──► workers: read, split, batch ──► sink ──► ack ──► positions
//
// A file is an inode, not a path: it is followed through renames, and its content is the evidence that it is still the same (see
// [position]). Discovery opens what it finds while there is room, so that a file which is renamed away before its turn is not lost, and puts what
// has grown into the ready queue. A few workers take files from the queue, read a bounded turn each, and put a file back to the end of
// the queue while it has more. A batch may hold many files; when it is acknowledged the positions of all of them are stored.
//
// # Discovery
//
// The patterns make a tree of the directories in which they can match ([directory]); each is watched, or polled where the kernel does not tell.
// Events are hints where to look; what counts is what a look finds, and a periodic look at everything is the truth.
//
// # Files of one log
//
// The name of a file says which log it is a generation of ([family]). They are read in the order of their last changes, each when what those
// before it held has been read; the log itself comes last. Rotations go on while discovery looks, so each file that is found makes discovery look at all
// generations of the log again, where there are more or a name led nowhere ([discovery.lookBeside]). The beginning of a log that has other generations
// is taken only when discovery has looked for more of them since the beginning was there ([reader.sure]).
//
// A file that was never read, and whose name is that of a generation, may hold what was read already under another id:
//
//   - It begins with the content of the log, which still has it: it is a copy, and waits, because the log may be truncated next. When the copy has
//     not grown for RotateWait, it is a file of its own.
//   - It holds what a generation held before that was truncated (its head, and the guard at its offset): it goes on from that offset. A
//     file whose content is gone is not read before discovery has looked for such a copy beside it.
//   - It is compressed, and its content proves a position of the log's generations: it goes on from the greatest such offset.
//
// Anything else is read from its beginning.
//
// # Who owns what
//
// Engine.mu guards the table of files, the queue and what discovery knows of a file; the tree of directories is discovery's alone. A file that a worker has taken from the queue is
// owned by this worker until it gives it back: its handle and its place are touched by nobody else. So there is no lock per
// file, no goroutine per file, and the lines of one file stay in order.
//
// # From bytes to records
//
//	bytes ──► split: lines ──► lineformat.Parser: entries ──► lineformat.Joiner, one per file: records ──► batch
//
// Where each line is a record, the place of a file is where a line begins, or where one was cut: the bytes before the place tell which
// (see [split.Splitter.Ends]), so that nothing more has to be stored. Where records may have several lines, or lines several pieces, the
// place is behind all that was taken, and what is open is in the memory of the file's joiner. The position then also says
// where in the file each stream's open text begins; a restart reads from there, and passes over what was delivered
// ([lineformat.Joiner.Restore]). Where the memory of all joiners together grows too large, files do the same while running (shedLocked).
// A text that goes on in the next file of a log (handOverLocked), or behind a truncation (rewind), has no place in its file: it is
// stored itself. Where a truncated log has a copy, its open text goes on in the copy, from which it is handed back (takeOpen); what was
// written to the log since then, and copied before it was read, has it first (takeFromLog). Where a file is
// compressed before there is a next one, its open text goes to the compressed file, which is there after a restart too, and from that to the
// next one (wantsOpen, chainLocked). What was left to a file that is nowhere after a restart, or is stored because that has left it to others, goes on in the
// next one, or comes as it is (followText, followOpen).
//
// # What does not wait for ever
//
// The pure packages have no clock. A worker that gives a file back says when something of it will have waited for too long; the
// flush task has it read again then, though nothing has come, and the joiner is told the time. The task runs only where something is
// configured that waits: force_flush_period, a container format, or multiline.
package filetail
