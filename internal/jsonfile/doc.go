// Package jsonfile reads the log of a container from the files that Docker's json-file driver writes: the one that grows, and those that
// were rotated away (.1, .2.gz, …). What it gives are the pieces that the engine's API would give ([dockerstream.Piece]), so that all
// behind it, the position too, is the same for both. It has no goroutines, and never waits.
//
// # Rotation
//
// The engine renames a log that is full, and makes a new one in its place. A [Log] holds the generations of the log that are not read yet
// open, oldest first ([Log.Look]), so that a rename, the compression or the deletion of one takes nothing from it. To find those that are
// new, they are opened in the order of their age, the youngest first, until the youngest that is held already: a rotation meanwhile makes them
// older, so that one can be met twice and none is missed.
//
// # Position
//
// A log is opened at a time, and begins with the first line that is not older, in the order in which lines are stored. That is what
// the engine does with "since", and what a [dockerstream.Window] asks for. Where what was read last is gone (rotated away, or the
// file was truncated), [ErrMoved] says so, and the log is to be opened again at the window, which knows whether something is lost.
package jsonfile
