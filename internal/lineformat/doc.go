// Package lineformat makes records of lines: it reads the formats in which container runtimes write log files, joins what they cut into
// pieces, and groups lines to records of many lines. It is pure: lines in, records out; what it has to know of time is told to it.
//
//	line ──► [Parser] ──► entry ──► [Joiner]: pieces to lines, per stream ──► lines to groups, per stream ──► record
//
// A container's two streams share one file, and interleave: a line of one stream can be open while the other goes on. So the place up
// to which a file was read is not enough to go on after a restart. [Joiner.Open] says for each stream where what is open begins; the
// file is then read again from the first of these places, and each stream takes part from its own: see [Joiner.Restore].
//
// What is waited for may never come. Due and Flush are for a caller with a clock: they give up the wait for the rest of a line, or for
// one more line of a group.
package lineformat
