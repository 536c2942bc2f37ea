package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// sysctls are those of the whole machine that the kubelet sets; those of the
// network are the namespace's own.
func sysctls() []string {
	return []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

func saveSysctls() error {
	before := map[string]string{}
	for _, name := range sysctls() {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
		before[name] = string(value)
	}
	encoded, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	if err := os.WriteFile(in("sysctls.json"), encoded, 0o600); err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	return nil
}

func restoreSysctls() error {
	encoded, err := os.ReadFile(in("sysctls.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // up did not come so far
	}
	if err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	var before map[string]string
	if err := json.Unmarshal(encoded, &before); err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	for name, value := range before {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
	}
	return nil
}
