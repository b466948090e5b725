// Package e2e tests the built distribution from outside: the real binary, the real engine, real files, and an OTLP server
// that counts every line. It holds tests only.
//
// LOGCAPTURE_BIN names the binary; without it `make build` makes one, except where CI=true: there it has to be given.
// What cannot run on a machine is skipped and says so, or fails where CI=true.
package e2e
