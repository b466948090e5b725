package containerlogreceiver

import (
	"os"
	"regexp"
	"strings"
)

// own says which containers this process may run in: capturing its own log would write a log about it, for ever.
type own struct {
	ids      map[string]bool // by what the engine mounts into a container, or by the cgroup
	hostname string          // the beginning of an id, unless it was set
}

var containerID = regexp.MustCompile(`[0-9a-f]{64}`)

// findOwn looks at where this process runs, whatever its network and host name are.
func findOwn() own {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	cgroups, _ := os.ReadFile("/proc/self/cgroup")
	podman, _ := os.ReadFile("/run/.containerenv")
	hostname, _ := os.Hostname()
	return ownFrom(string(mounts), string(cgroups), string(podman), hostname)
}

func ownFrom(mounts, cgroups, podman, hostname string) own {
	o := own{ids: make(map[string]bool)}
	for line := range strings.Lines(mounts) {
		// id, parent, device, root of the mount within its file system, mount point, …
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		switch fields[4] {
		case "/etc/hostname", "/etc/hosts", "/etc/resolv.conf": // in each container, files of its own folder on the host
			o.add(fields[3])
		}
	}
	for line := range strings.Lines(cgroups) {
		// hierarchy:controllers:path. With cgroup v2 and a namespace of its own the path says nothing.
		if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); len(parts) == 3 {
			o.add(parts[2])
		}
	}
	for line := range strings.Lines(podman) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "id="); ok {
			o.add(id)
		}
	}
	const shortID = 12
	if len(hostname) >= shortID && strings.Trim(hostname, "0123456789abcdef") == "" {
		o.hostname = hostname
	}
	return o
}

// add takes the last id in a path: a container within a container has that of the outer one before its own.
func (o *own) add(path string) {
	if ids := containerID.FindAllString(path, -1); len(ids) > 0 {
		o.ids[ids[len(ids)-1]] = true
	}
}

// is says that the container is the one that this process runs in.
func (o *own) is(id string) bool {
	return o.ids[id] || (o.hostname != "" && strings.HasPrefix(id, o.hostname))
}
