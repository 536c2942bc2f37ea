package database

import (
	"context"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropColumn is looked at here; all columns are dropped in one step.
type dropColumn struct{ unbuilt }

func (dropColumn) look(_ context.Context, i *inspector, o change.Operation) error {
	i.abandons(o.DropColumn)
	return nil
}
