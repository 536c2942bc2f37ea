package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed config
var configFiles embed.FS

// settings are what the files of config/ are filled with.
type settings struct {
	State, NodeIP, APIServer, PodRange, Socket string
	Pause, User                                string
}

// writeConfig fills a file of config/ for a user and writes it.
func writeConfig(name, into, user string) error {
	parsed, err := template.New(name).Option("missingkey=error").ParseFS(configFiles, "config/"+name)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var text bytes.Buffer
	err = parsed.Execute(&text, settings{
		State: state, NodeIP: nodeIP, APIServer: apiServer, PodRange: podRange, Socket: socket,
		Pause: registry + "pause:1", User: user,
	})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(into), 0o700); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := os.WriteFile(into, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// writeConfigs writes what the node's programs read.
func writeConfigs() error {
	for name, into := range map[string]string{
		"containerd.toml": in("containerd.toml"),
		"network.json":    in("cni", "10-gapless.conflist"),
		"kubelet.yaml":    in("kubelet.yaml"),
		"gateway.yaml":    in("gateway.yaml"),
	} {
		if err := writeConfig(name, into, ""); err != nil {
			return err
		}
	}
	return nil
}
