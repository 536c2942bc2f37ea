package database

import (
	"context"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropColumn is looked at here; all columns are dropped in one step.
type dropColumn struct{}

func (dropColumn) look(_ context.Context, i *inspector, o change.Operation) error {
	i.abandons(o.DropColumn)
	return nil
}

func (dropColumn) do(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s drops no column by itself", w.step.ID)
}

func (dropColumn) undo(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, fmt.Errorf("step %s brings no column back by itself", w.step.ID)
}

func (dropColumn) verify(context.Context, work) ([]change.CheckResult, error) { return nil, nil }
