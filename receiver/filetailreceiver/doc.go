// Package filetailreceiver is the file_tail receiver: it reads log files by glob, container log files among them,
// through every kind of rotation.
//
// It composes the engine packages under internal and holds no reading, decoding or delivery of its own.
package filetailreceiver

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml
