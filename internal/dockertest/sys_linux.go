package dockertest

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock holds the file against other processes until it is closed.
func lock(file *os.File) error { return unix.Flock(int(file.Fd()), unix.LOCK_EX) }

// ended looks at a child process without taking its exit status, which Wait does.
func ended(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || info.Signo != 0
}

// detach takes a mount away from its folder, in use or not.
func detach(point string) error { return unix.Unmount(point, unix.MNT_DETACH) }

// freeze stops a group of processes, or lets it go on.
func freeze(group int, frozen bool) error {
	if frozen {
		return unix.Kill(-group, unix.SIGSTOP)
	}
	return unix.Kill(-group, unix.SIGCONT)
}
