// Package containerlogreceiver is the container_log receiver: it follows the logs of every container of a Docker Engine
// API (Docker, Podman) and finds the containers by itself.
//
// A reconciler owns the set of followed containers (discovery.go): lists are the truth, events wake it up in between. Each container that
// is followed has one task (stream.go, read.go), which reads what is there, delivers it, and only then waits for more. Where much comes in
// small pieces it lets them gather first, for some milliseconds (incoming.go, connection.go). One ticker looks after all of them
// (ticker.go). What the bytes mean is in package dockerstream.
//
// The pieces of a log come from the engine (read.go), or from its files (direct.go, package jsonfile) while the bell (bell.go) tells of what is
// written to them. All behind that is the same for both, the position too.
package containerlogreceiver

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml
