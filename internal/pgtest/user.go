package pgtest

import (
	"errors"
	"fmt"
	"os"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// user is the operating system's user that runs the server.
type user struct {
	name       string
	credential *syscall.Credential // nil: as this process
}

// serverUser returns this process's user, or for root, as which PostgreSQL
// refuses to run, "postgres" or else "nobody".
func serverUser() (user, error) {
	if os.Geteuid() != 0 {
		return user{name: "uid " + strconv.Itoa(os.Geteuid())}, nil
	}
	var failed error
	for _, name := range []string{"postgres", "nobody"} {
		who, err := lookUp(name)
		if err == nil {
			return who, nil
		}
		failed = errors.Join(failed, err)
	}
	return user{}, fmt.Errorf("no user to run PostgreSQL as, which refuses root: %w", failed)
}

func lookUp(name string) (user, error) {
	found, err := osuser.Lookup(name)
	if err != nil {
		return user{}, fmt.Errorf("look up user: %w", err)
	}
	uid, errUID := strconv.ParseUint(found.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(found.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return user{}, fmt.Errorf("user %s: %w", name, err)
	}
	return user{name: name, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// own gives dir to the user, who must be able to reach it.
func (u user) own(dir string) error {
	if u.credential == nil {
		return nil
	}
	if err := os.Chown(dir, int(u.credential.Uid), int(u.credential.Gid)); err != nil {
		return fmt.Errorf("give to user %s: %w", u.name, err)
	}
	return u.reach(dir)
}

// reach reports the first directory on the way to path that is closed to the
// user: as root one does not notice, and PostgreSQL's own message is obscure.
func (u user) reach(path string) error {
	if u.credential == nil {
		return nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("reach %s: %w", path, err)
		}
		const searchByOthers = 0o001
		owner, ok := info.Sys().(*syscall.Stat_t)
		if info.Mode()&searchByOthers == 0 && (!ok || owner.Uid != u.credential.Uid) {
			return fmt.Errorf("user %s cannot reach %s: %s has mode %04o",
				u.name, path, dir, info.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}
