package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
)

type validateCmd struct{}

// Run checks config and change files, and shows all that is wrong with them.
func (validateCmd) Run(env *environment) error {
	cfg, err := config.Load(env.commands.Config)
	if err != nil {
		return err
	}
	files, err := cfg.ReadChanges()
	var text strings.Builder
	fmt.Fprintf(&text, "%s is valid: service %s, %s, strategy %s\n",
		env.commands.Config, cfg.Service, cfg.Target, cfg.Strategy.Kind())
	for _, f := range files {
		name := filepath.Join(filepath.Dir(env.commands.Config), filepath.FromSlash(f.Name))
		if _, perr := change.Parse(name, f.Data); perr != nil {
			err = errors.Join(err, perr)
			continue
		}
		fmt.Fprintf(&text, "%s is valid\n", name)
	}
	if err != nil {
		return err
	}
	return env.out.print(text.String())
}
