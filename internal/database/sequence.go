package database

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// dropSequence drops a sequence that no column numbers its rows by.
type dropSequence struct{}

// sequenceQuery gives the statements that would make a sequence ($1) again,
// named $2, but for its value.
const sequenceQuery = `
select statement from (
  select 1 as n, format('create sequence %s as %s increment by %s minvalue %s maxvalue %s start with %s cache %s %s', $2::text,
    format_type(seqtypid, null), seqincrement, seqmin, seqmax, seqstart, seqcache, case when seqcycle then 'cycle' else 'no cycle' end) as statement
    from pg_sequence where seqrelid = $1
  union all select 2, format('alter sequence %s owner to %I', $2::text, pg_get_userbyid(relowner)) from pg_class where oid = $1
  union all select 3, format('alter sequence %s owned by %s.%I', $2::text, d.refobjid::regclass, a.attname)
    from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.classid = 'pg_class'::regclass and d.objid = $1 and d.refclassid = 'pg_class'::regclass and d.deptype = 'a'
  union all select 4, format('comment on sequence %s is %L', $2::text, description)
    from pg_description where objoid = $1 and classoid = 'pg_class'::regclass
) as all_of_it order by n`

// sequenceUsers are the columns that are numbered by a sequence as identity
// columns are: the catalogue has it as a part of them.
const sequenceUsers = `
select format('%I of %s', a.attname, d.refobjid::regclass) from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where d.classid = 'pg_class'::regclass and d.objid = $1 and d.refclassid = 'pg_class'::regclass and d.deptype = 'i'`

func (s *session) findSequence(name string) finder {
	return func(ctx context.Context, tx pgx.Tx) (*doomed, error) {
		o, err := s.findObject(ctx, tx, name)
		if err != nil || !o.is("S") {
			return nil, err
		}
		users, err := lines(ctx, tx, "look for identity columns", sequenceUsers, o.oid)
		if err != nil {
			return nil, err
		}
		if len(users) > 0 {
			return nil, &RefusedError{Reasons: []string{fmt.Sprintf("sequence %s numbers the identity column %s", o.ident(), users[0])}}
		}
		definition, err := sequenceDefinition(ctx, tx, o)
		if err != nil {
			return nil, err
		}
		return &doomed{target: o.target(), kind: "sequence", label: o.ident(), mine: o.mine, definition: script(definition),
			lock: fmt.Sprintf("alter sequence %s owned by none", o.ident()), drop: "drop sequence " + o.ident()}, nil
	}
}

// sequenceDefinition is what would make a sequence again, with its value.
func sequenceDefinition(ctx context.Context, q querier, o named) ([]string, error) {
	definition, err := lines(ctx, q, "read the definition of "+o.ident(), sequenceQuery, o.oid, o.ident())
	if err != nil {
		return nil, err
	}
	var last int64
	var called bool
	if err := q.QueryRow(ctx, "select last_value, is_called from "+o.ident()).Scan(&last, &called); err != nil {
		return nil, fmt.Errorf("read the value of %s: %w", o.ident(), err)
	}
	definition = append(definition, fmt.Sprintf("select setval(%s, %d, %t)", literal(o.ident()), last, called))
	owner, err := ownerOf(ctx, q, o.oid)
	if err != nil {
		return nil, err
	}
	given, err := grants(ctx, q, o.oid, "sequence "+o.ident(), owner)
	return append(definition, given...), err
}

func (dropSequence) look(ctx context.Context, i *inspector, o change.Operation) error {
	return i.lookDrop(ctx, o, i.s.findSequence(o.DropSequence))
}

func (dropSequence) do(ctx context.Context, w work) (change.Evidence, error) {
	return w.dropNamed(ctx, w.s.findSequence(w.step.Operation.DropSequence))
}

func (dropSequence) undo(_ context.Context, w work) (change.Evidence, error) {
	return change.Evidence{}, noWayBack(w)
}

func (dropSequence) verify(context.Context, work) ([]change.CheckResult, error) { return nil, nil }
