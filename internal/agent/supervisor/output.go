package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	tailBytes   = 4 << 10
	tailLines   = 12
	logLimit    = 16 << 20
	keepsLaunch = 10 // launches whose logs are kept
)

func (s *Supervisor) logPath(name string) string {
	return filepath.Join(s.opts.Logs, name+".log")
}

// tail returns the last lines of an instance's output, empty when it has none.
func (s *Supervisor) tail(name string) string {
	file, err := os.Open(s.logPath(name))
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // nothing was written
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	raw, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-tailBytes), tailBytes))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(strings.ToValidUTF8(string(raw), "?"), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// trim keeps a log from growing without bound: what it holds is moved to one
// older file. The instance writes on by its own descriptor; what it writes
// within that moment may be lost.
func (s *Supervisor) trim(name string) error {
	path := s.logPath(name)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() < logLimit {
		return nil
	}
	if err != nil {
		return fmt.Errorf("log of %s: %w", name, err)
	}
	if err := copyFile(path, path+".1"); err != nil {
		return fmt.Errorf("log of %s: %w", name, err)
	}
	if err := os.Truncate(path, 0); err != nil {
		return fmt.Errorf("log of %s: %w", name, err)
	}
	return nil
}

func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}

// forgetLogs removes the logs of launches long gone.
func (s *Supervisor) forgetLogs(present int) error {
	entries, err := os.ReadDir(s.opts.Logs)
	if err != nil {
		return fmt.Errorf("directory for logs: %w", err)
	}
	var faults []error
	for _, entry := range entries {
		if launch, ok := launchOf(entry.Name()); ok && launch <= present-keepsLaunch {
			faults = append(faults, os.Remove(filepath.Join(s.opts.Logs, entry.Name())))
		}
	}
	return errors.Join(faults...)
}

// launchOf reads the launch out of a log's name: green-12.1.log.
func launchOf(file string) (int, bool) {
	_, rest, ok := strings.Cut(file, "-")
	if !ok || !strings.Contains(file, ".log") {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, ".")
	launch, err := strconv.Atoi(number)
	return launch, err == nil
}
