// Package dockerstream decodes the log stream of a Docker Engine API and knows where to go on in it. It is pure: bytes in, lines and
// positions out; no HTTP, no clock, no goroutines. The values of the package are used by one goroutine at a time.
//
//	bytes ──Decoder──► pieces (stream, stamp, ≤ 16 KiB) ──Lines──► lines
//	                                                       │
//	                                                     Window: which pieces were delivered, and since when to ask again
//
// # What the engine does
//
// The engine cuts what a process writes into pieces: a line, or 16 KiB of one. Each has a stamp in nanoseconds; all pieces of a line have
// the stamp of the first. Pieces of stdout and stderr stand in the order in which they were stored, which is not the order of the
// stamps, and between the pieces of a line stand pieces of the other stream.
//
// # Exact resume
//
// "since" alone cannot say where to go on: stamps of the two streams invert, and engines differ in what they skip. Within a stream they
// only rise. So a [Window] keeps for each stream, for a short time before its newest stamp, a hash of each line that was delivered. The log
// is opened again where the stream that is behind asks for it, but at most a second before the newest stamp of all, and what comes
// twice is cancelled against the hashes, or older than all that can still come of its stream. Times are kept and not counts, because a
// burst puts any number of records into the span by which stamps invert (measured: up to 17.5 ms; more on a machine that is overloaded).
// Where a stream has many lines in that short time, only the last ones have hashes: what is older, and comes again, comes before these.
package dockerstream
