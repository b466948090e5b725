// Command bench compares the file_tail receiver with contrib's file_log, and with what no receiver can beat: a program that
// only reads, splits and builds records. It starts whole collector processes in turn on the same data, and asks the kernel
// what they cost. `make bench` runs it; README.md beside this file says what the figures mean.
//
// It is a module of its own, so that nothing it needs becomes a dependency of the receivers.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := "run"
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	if err := dispatch(ctx, command); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func dispatch(ctx context.Context, command string) error {
	switch command {
	case "run":
		return withBench(func(b *bench) error { return b.run(ctx) })
	case "profile":
		return withBench(func(b *bench) error { return b.profile(ctx) })
	case "floor": // started by run, as a process of its own
		return floorProcess(os.Args[2:])
	default:
		return fmt.Errorf("no command %q: run, profile", command)
	}
}
