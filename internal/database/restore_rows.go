package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
)

// obstructed refuses the way back of contract while rows do not keep to a check
// that contract dropped: they were written since, and would stop it when the
// rest is done. Those that still come meanwhile do; it goes on when they are
// corrected.
func (w work) obstructed(ctx context.Context) error {
	for _, step := range change.ContractSteps(w.change) {
		if step.Kind != change.Operate || step.Operation.DropConstraint == nil {
			continue
		}
		t, err := w.table(ctx)
		if err != nil {
			return err
		}
		name := step.Operation.DropConstraint.Name
		definition, kept, err := w.kept(ctx, w.s, archivedConstraint, constraintName(t, name))
		if err != nil {
			return err
		}
		condition, is := brokenBy(definition)
		if !kept || !is {
			continue
		}
		bad, err := w.s.offend(ctx, t, condition)
		if sqlState(err) == undefinedColumn { // it is about a column that comes back
			continue
		}
		if err != nil {
			return err
		}
		if bad.count > 0 {
			return w.rejected(fmt.Sprintf("constraint %s again", ident(name)), bad)
		}
	}
	return nil
}

// brokenBy is true for rows that do not keep to a check. One that was not valid
// is added so again, and looks at no row.
func brokenBy(definition string) (condition string, is bool) {
	expression, is := strings.CutPrefix(strings.TrimSuffix(definition, " NO INHERIT"), "CHECK ")
	if !is || strings.HasSuffix(definition, notValid) {
		return "", false
	}
	return fmt.Sprintf("not (%s)", expression), true
}
