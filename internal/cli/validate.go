package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/document"
)

type validateCmd struct{}

// Run checks config and change files, and shows all that is wrong with them.
func (validateCmd) Run(env *environment) error {
	cfg, _, err := config.Load(env.commands.Config)
	if err != nil {
		return err
	}
	base := filepath.Dir(env.commands.Config)
	files, err := changeFiles(cfg, base)
	for _, f := range files {
		_, perr := change.Parse(filepath.Join(base, filepath.FromSlash(f.Name)), f.Data)
		err = errors.Join(err, perr)
	}
	if err != nil {
		return joinFaults(err)
	}
	text := fmt.Sprintf("%s is valid: service %s, target %s, strategy %s\n",
		env.commands.Config, cfg.Service, cfg.Target, cfg.Strategy.Kind())
	for _, f := range files {
		text += fmt.Sprintf("%s is valid\n", f.Name)
	}
	return env.out.print(text)
}

// joinFaults makes one list of the faults of several files.
func joinFaults(err error) error {
	if faults := document.FaultsOf(err); len(faults) > 0 {
		return faults
	}
	return err
}
