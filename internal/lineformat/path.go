package lineformat

import "strings"

// KubernetesFile is what the path of a container's log file says.
type KubernetesFile struct {
	Namespace, Pod, UID, Container string
	ContainerID                    string // only in the names of /var/log/containers
	RestartCount                   int    // -1 for unknown
}

// ParseKubernetesPath reads the path of a log file as the kubelet makes it, elsewhere than in /var/log too, and of rotated files too:
//
//	/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart count>.log
//	/var/log/containers/<pod>_<namespace>_<container>-<container id>.log
func ParseKubernetesPath(path string) (k KubernetesFile, ok bool) {
	parts := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '\\' })
	if len(parts) == 0 {
		return k, false
	}
	name := parts[len(parts)-1]
	if len(parts) >= 3 {
		if k, ok = parsePodPath(parts[len(parts)-3], parts[len(parts)-2], name); ok {
			return k, true
		}
	}
	return parseContainerName(name)
}

func parsePodPath(pod, container, name string) (k KubernetesFile, ok bool) {
	fields := strings.Split(pod, "_")
	if len(fields) != 3 || fields[0] == "" || fields[1] == "" || !isUID(fields[2]) {
		return k, false
	}
	count, rest := 0, name
	for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' && count < 1<<40 {
		count, rest = count*10+int(rest[0]-'0'), rest[1:]
	}
	if rest == name || !strings.HasPrefix(rest, ".log") {
		return k, false
	}
	return KubernetesFile{Namespace: fields[0], Pod: fields[1], UID: fields[2], Container: container, RestartCount: count}, true
}

// isUID says that a text is a UUID, or the hash that the kubelet gives to the pods of its own manifests.
func isUID(text string) bool {
	return len(text) >= 32 && strings.Trim(text, "0123456789abcdefABCDEF-") == ""
}

func parseContainerName(name string) (k KubernetesFile, ok bool) {
	name, _, ok = strings.Cut(name, ".log")
	fields := strings.Split(name, "_")
	if !ok || len(fields) != 3 {
		return k, false
	}
	dash := strings.LastIndexByte(fields[2], '-')
	if dash <= 0 || fields[0] == "" || fields[1] == "" {
		return k, false
	}
	id := fields[2][dash+1:]
	if len(id) != 64 || strings.Trim(id, "0123456789abcdef") != "" {
		return k, false
	}
	return KubernetesFile{Namespace: fields[1], Pod: fields[0], Container: fields[2][:dash], ContainerID: id, RestartCount: -1}, true
}
