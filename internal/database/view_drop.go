package database

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropView drops a view, also a materialized one.
type dropView struct{}

func (s *session) findView(name string) finder {
	return func(ctx context.Context, tx pgx.Tx) (*doomed, error) {
		v, err := s.findObject(ctx, tx, name)
		if err != nil || !v.is("vm") {
			return nil, err
		}
		definition, err := viewDefinition(ctx, tx, v)
		if err != nil {
			return nil, err
		}
		kind := "view"
		if v.kind == "m" {
			kind = "materialized view"
		}
		return &doomed{target: v.target(), kind: kind, label: v.ident(), mine: v.mine, definition: script(definition), drop: "drop " + kind + " " + v.ident()}, nil
	}
}

func (dropView) look(ctx context.Context, i *inspector, o change.Operation) error {
	return i.lookDrop(ctx, o, i.s.findView(o.DropView))
}

func (dropView) do(ctx context.Context, w work) (change.Evidence, error) {
	return w.dropNamed(ctx, w.s.findView(w.step.Operation.DropView))
}

func (dropView) undo(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, noWayBack(w)
}

func (dropView) verify(context.Context, work) ([]change.CheckResult, error) { return nil, nil }
