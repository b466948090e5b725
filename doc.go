// Package logcapture holds nothing itself: it is the root of two OpenTelemetry Collector receivers,
// container_log and file_tail, and of the otelcol-logcapture distribution (builder-config.yaml).
//
// # From bytes to an acknowledged position
//
// There is one straight way through the module, the same for both receivers:
//
//	receiver/containerlogreceiver     receiver/filetailreceiver      composition: config, factory, start, shutdown
//	        │        │                        │
//	        │   internal/dockerstream   internal/filetail             where bytes come from
//	        │        └───────────┬────────────┘
//	        │              internal/split                             bytes → lines
//	        │              internal/charset                           bytes of an encoding → text (file_tail)
//	        │              internal/lineformat                        line → record
//	        │              internal/emit                              records → plog → consumer → acknowledgement
//	        └──────────────internal/checkpoint                        acknowledged positions, stored
//	                       internal/lifecycle                         every goroutine of the module
//
// internal/jsonfile gives what dockerstream decodes from the engine's files instead of from its API. Stamps are read by lineformat for both.
//
// internal/capture puts emit, checkpoint, lifecycle and status (the troubles of a receiver as its component status) together for one
// receiver instance, so that both start and shut down in the same way.
//
// A position moves only after the consumer accepted everything before it. Reading waits while a delivery waits, so
// that memory is bounded and the file or the daemon keeps what was not read yet.
//
// extension/storagecheckextension stands beside all that: over internal/boltcheck it sees to it that a damaged file of stored
// positions costs lines that come again, and not the process.
//
// The libraries are synchronous. A goroutine is started by internal/lifecycle alone, which names, counts, cancels and
// awaits it. internal/split and internal/lineformat are pure: they import the standard library only (lineformat also split).
// internal never imports receiver, and the receivers do not import each other; .golangci.yml enforces all that.
//
// metadata.yaml beside this file declares the module's own metrics; `make generate` turns it into internal/telemetry.
package logcapture

//go:generate go tool -modfile=internal/tools/go.mod mdatagen metadata.yaml
