//go:build unix

package filetail

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"syscall"
)

// owners remembers the names of users and groups: many files have few owners, and each look-up reads files.
type owners struct{ users, groups map[uint32]string }

// ownerOf returns the names of the user and the group that own a file, empty where they have none.
func (o *owners) ownerOf(info fs.FileInfo) (owner, group string) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", ""
	}
	if o.users == nil {
		o.users, o.groups = make(map[uint32]string), make(map[uint32]string)
	}
	owner, ok = o.users[stat.Uid]
	if !ok {
		if found, err := user.LookupId(strconv.FormatUint(uint64(stat.Uid), 10)); err == nil {
			owner = found.Username
		}
		o.users[stat.Uid] = owner
	}
	group, ok = o.groups[stat.Gid]
	if !ok {
		if found, err := user.LookupGroupId(strconv.FormatUint(uint64(stat.Gid), 10)); err == nil {
			group = found.Name
		}
		o.groups[stat.Gid] = group
	}
	return owner, group
}

// permissions returns those of the user, the group and others, as three octal digits.
func permissions(info fs.FileInfo) string { return fmt.Sprintf("%03o", info.Mode().Perm()) }
