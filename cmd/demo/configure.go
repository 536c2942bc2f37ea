package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// configure writes the user's files into place: those of testdata/demo, with
// the ports of this stage. Before the change was thought of, none was named.
func (s *stage) configure(o options, withChange bool) error {
	const change = "db/changes/0007-split-street.yaml"
	config, err := s.read("gapless.yaml")
	if err != nil {
		return err
	}
	if o.Strategy != canary {
		block, err := s.read(filepath.Join("strategy", string(o.Strategy)+".yaml"))
		if err != nil {
			return err
		}
		config = withStrategy(config, block)
	}
	config = strings.NewReplacer("127.0.0.1:7070", s.adminAt, "127.0.0.1:8080", s.public).Replace(config)
	if !withChange {
		config = strings.Replace(config, "["+change+"]", "[]", 1)
	}
	t := o.Fault.trouble()
	content, err := s.read(change)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"gapless.yaml": withDuration(withDuration(config, "bake", t.bake), "bake_limit", t.limit),
		change:         content,
	} {
		path := filepath.Join(s.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	}
	return nil
}

// read gives a file of testdata/demo.
func (s *stage) read(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(s.root, "testdata", "demo", name))
	if err != nil {
		return "", fmt.Errorf("configure: %w", err)
	}
	return string(content), nil
}

// withStrategy puts another strategy in place of a config's: from that key to
// the next one.
func withStrategy(config, block string) string {
	return regexp.MustCompile(`(?m)^strategy:\n(?:[ #].*\n)*`).ReplaceAllLiteralString(config, block)
}

// withDuration sets a key of the strategy; zero leaves it.
func withDuration(config, key string, d time.Duration) string {
	if d == 0 {
		return config
	}
	return regexp.MustCompile(`(?m)^( +`+key+`: )\S+`).ReplaceAllString(config, "${1}"+d.String())
}
