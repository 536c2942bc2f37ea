package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropFunction drops a function or a procedure.
type dropFunction struct{}

// routine is a function as the catalogue has it.
type routine struct {
	oid          uint32
	schema, name string
	signature    string // qualified, with the types of its arguments
	kind         string
	mine         bool
}

// findRoutine finds what a name with types stands for. Its OID is 0 where there
// is nothing.
func (s *session) findRoutine(ctx context.Context, q querier, signature string) (r routine, err error) {
	err = s.aside(ctx, q, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			select p.oid, n.nspname, p.proname, case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' else 'function' end, pg_has_role(p.proowner, 'usage')
			from pg_proc p join pg_namespace n on n.oid = p.pronamespace where p.oid = to_regprocedure($1)`, signature).
			Scan(&r.oid, &r.schema, &r.name, &r.kind, &r.mine)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `set local search_path = pg_catalog, pg_temp`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select $1::oid::regprocedure::text`, r.oid).Scan(&r.signature)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return routine{}, nil
	}
	if err != nil {
		return r, fmt.Errorf("look for function %s: %w", signature, err)
	}
	return r, nil
}

// routineQuery gives the statements that would make a function again.
const routineQuery = `
select statement from (
  select 1 as n, pg_get_functiondef($1::oid) as statement
  union all select 2, format('alter routine %s owner to %I', $1::oid::regprocedure, pg_get_userbyid(proowner)) from pg_proc where oid = $1
  union all select 3, format('revoke all on routine %s from public', $1::oid::regprocedure)
    from pg_proc where oid = $1 and proacl is not null
  union all select 4, format('grant execute on routine %s to %s%s', $1::oid::regprocedure,
      case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end, case when x.is_grantable then ' with grant option' end)
    from pg_proc p cross join lateral aclexplode(p.proacl) x where p.oid = $1 and x.grantee <> p.proowner
  union all select 5, format('comment on routine %s is %L', $1::oid::regprocedure, d.description)
    from pg_description d where d.objoid = $1 and d.classoid = 'pg_proc'::regclass
) as all_of_it order by n, statement`

func (s *session) findFunction(signature string) finder {
	return func(ctx context.Context, tx pgx.Tx) (*doomed, error) {
		r, err := s.findRoutine(ctx, tx, signature)
		if err != nil || r.oid == 0 {
			return nil, err
		}
		if r.kind == "aggregate" {
			return nil, &RefusedError{Reasons: []string{r.signature + " is an aggregate, whose definition cannot be archived"}, Remedy: "drop it with an sql operation"}
		}
		definition, err := lines(ctx, tx, "read the definition of "+r.signature, routineQuery, r.oid)
		if err != nil {
			return nil, err
		}
		return &doomed{target: target{inProc, r.oid, r.schema, r.name}, kind: r.kind, label: r.signature, mine: r.mine,
			definition: script(definition), drop: "drop " + r.kind + " " + r.signature}, nil
	}
}

func (dropFunction) look(ctx context.Context, i *inspector, o change.Operation) error {
	return i.lookDrop(ctx, o, i.s.findFunction(o.DropFunction))
}

func (dropFunction) do(ctx context.Context, w work) (change.Evidence, error) {
	return w.dropNamed(ctx, w.s.findFunction(w.step.Operation.DropFunction))
}

func (dropFunction) undo(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, noWayBack(w)
}

func (dropFunction) verify(context.Context, work) ([]change.CheckResult, error) { return nil, nil }
