// Package capture is what both receivers are made of: the tasks, the store of positions, the sink, the byte budget, the component
// status and the module's own metrics of one receiver instance, started and shut down in one order.
//
// A receiver starts a [Capture], gives its reading tasks to [Capture.Go] and ends with [Capture.Shutdown]. Tasks that read end before the
// store does, so that what was acknowledged last is stored too.
package capture
