package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Inventory tells what gapless has in this database, of all services.
func (db *DB) Inventory(ctx context.Context) (has change.Inventory, err error) {
	err = db.with(ctx, "inventory", func(s *session) error {
		has, err = s.inventory(ctx)
		return err
	})
	return has, err
}

// installed tells whether gapless's own schema is there.
func installed(ctx context.Context, q querier) (there bool, err error) {
	if err := q.QueryRow(ctx, `select to_regclass('gapless.claim') is not null`).Scan(&there); err != nil {
		return false, fmt.Errorf("look for the schema gapless: %w", err)
	}
	return there, nil
}

func (s *session) inventory(ctx context.Context) (has change.Inventory, err error) {
	if there, err := installed(ctx, s); err != nil || !there {
		return has, err
	}
	rows, err := s.Query(ctx, `
		select k.id, k.digest, k.service, k.state, k.begun_at, k.since, coalesce(n.nspname, ''), coalesce(c.relname, ''), k.columns, k.ends, k.file, k.source
		from gapless.change k left join pg_class c on c.oid = k.relation left join pg_namespace n on n.oid = c.relnamespace
		order by k.begun_at, k.id`)
	if err != nil {
		return has, owners(fmt.Errorf("read what changes stand here: %w", err))
	}
	has.Changes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Known, error) {
		var k change.Known
		var t table
		var source string
		err := row.Scan(&k.ID, &k.Digest, &k.Service, &k.State, &k.Begun, &k.Since, &t.schema, &t.name, &k.Columns, &k.Ends, &k.Source.Name, &source)
		if k.Source.Data = []byte(source); t.name != "" {
			k.Table = t.ident()
		}
		return k, err
	})
	if err != nil {
		return has, owners(fmt.Errorf("read what changes stand here: %w", err))
	}
	rows, err = s.Query(ctx, `
		select m.service, n.nspname, c.relname, m.columns, m.rollout, m.since
		from gapless.claim m join pg_class c on c.oid = m.relation join pg_namespace n on n.oid = c.relnamespace
		order by m.service, n.nspname, c.relname, m.since, m.rollout`)
	if err != nil {
		return has, owners(fmt.Errorf("read who claims what: %w", err))
	}
	has.Claims, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (change.Claim, error) {
		var c change.Claim
		var t table
		err := row.Scan(&c.Service, &t.schema, &t.name, &c.Columns, &c.Rollout, &c.Since)
		c.Table = t.ident()
		return c, err
	})
	if err != nil {
		return has, owners(fmt.Errorf("read who claims what: %w", err))
	}
	return has, nil
}

// owners adds what to do where the role may not use gapless's tables.
func owners(err error) error {
	if sqlState(err) != noPrivilege {
		return err
	}
	return &privilegeError{err}
}

// privilegeError is a role that may not use gapless's own tables.
type privilegeError struct{ err error }

func (e *privilegeError) Error() string { return e.err.Error() }
func (e *privilegeError) Unwrap() error { return e.err }

// Hint says what a person can do.
func (e *privilegeError) Hint() string {
	return "services that share a database change its schema by one role, or by members of it: grant that role to this one"
}

// held finds what other changes and services hold of what this change is about.
func (i *inspector) held(has change.Inventory) {
	for _, k := range has.Changes {
		if k.ID == i.c.ID || k.Table != i.t.ident() || !k.Open() {
			continue
		}
		begins := i.st.state == rollout.Absent || i.st.state == rollout.Expanding
		if k.Columns = change.Overlap(i.c.Columns(), k.Columns); begins && len(k.Columns) > 0 {
			i.facts.Others = append(i.facts.Others, k)
		}
	}
	for _, claim := range has.Claims {
		if claim.Table != i.t.ident() {
			continue
		}
		if claim.Columns = change.Overlap(i.c.Taken(), claim.Takes()); len(claim.Columns) > 0 {
			i.facts.Claims = append(i.facts.Claims, claim)
		}
	}
}

// foreign is a change whose name another service has taken.
func foreign(k change.Known) error {
	return &RefusedError{
		Change: k.ID, Reasons: []string{fmt.Sprintf("this database has a change of that name, of service %s", k.Service)},
		Remedy: "give the file another name: the changes of a database have one name space",
	}
}

// heldByOthers refuses what another service's change holds. Of the service's own
// the plan knows more.
func heldByOthers(c change.Change, service string, others []change.Known) error {
	foreign := slices.DeleteFunc(slices.Clone(others), func(k change.Known) bool { return k.Service == service })
	if len(foreign) == 0 {
		return nil
	}
	reasons := make([]string, len(foreign))
	for i, k := range foreign {
		reasons[i] = fmt.Sprintf("service %s holds %s by change %s, %s since %s", k.Service, change.Columned(k.Columns, k.Table), k.ID, k.State, k.Since.UTC().Format(moment))
	}
	return &RefusedError{Change: c.ID, Reasons: reasons, Remedy: "wait until it is contracted or taken back"}
}

// moment is how a time is told to people.
const moment = "2006-01-02 15:04:05 UTC"

// missing are the names of columns that the table does not have.
func missing(t table, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, there := t.column(name)
		return there
	})
}

func listed(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(list, ", ")
}
