package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// cpuOf returns the user and system time of processes: what /proc/<pid>/stat has, not rounded to 10 ms.
func cpuOf(pids ...int) (sum time.Duration, err error) {
	const sched = 2 // CPUCLOCK_SCHED of the whole process
	for _, pid := range pids {
		clock := ^uintptr(pid)<<3 | sched
		var t syscall.Timespec
		if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
			return 0, fmt.Errorf("cpu time of process %d: %w", pid, errno)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// waitedOf returns how long the threads of a process have waited for a core so far, although they could have run. Where that is
// much, the machine was busy with something else, and a share of a core says how much the process got, not how much it wanted.
func waitedOf(pid int) (time.Duration, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		if fields := strings.Fields(string(content)); len(fields) == 3 {
			nanos, _ := strconv.ParseInt(fields[1], 10, 64)
			sum += time.Duration(nanos)
		}
	}
	return sum, nil
}

// memory is from /proc/<pid>/status, in bytes.
type memory struct{ now, peak int64 }

func memoryOf(pids ...int) (sum memory, err error) {
	for _, pid := range pids {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return memory{}, err
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			if len(fields) < 2 {
				continue
			}
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			switch fields[0] {
			case "VmRSS:":
				sum.now += kib << 10
			case "VmHWM:":
				sum.peak += kib << 10
			}
		}
	}
	return sum, nil
}
