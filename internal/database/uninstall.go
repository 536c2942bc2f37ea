package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// archiveSchema holds what an uninstall keeps; a number follows where the name
// is taken.
const archiveSchema = "gapless_archive"

// Uninstall takes the schema gapless out of this database, with every trigger
// and function of ours. Where a service is named, only that service's claims go:
// the service is no more. It refuses with a *HeldError while a change stands
// that has not come to its end, and while other services claim something.
// Archives, what sync set aside, the log and the history go to the schema
// gapless_archive unless they are to be dropped.
func (db *DB) Uninstall(ctx context.Context, service string, dropArchives bool) (removed change.Removed, err error) {
	err = db.with(ctx, "uninstall", func(s *session) error {
		there, err := installed(ctx, s)
		if err != nil || !there {
			return err
		}
		has, err := s.inventory(ctx)
		if err != nil {
			return err
		}
		if service != "" {
			removed, err = s.forget(ctx, has, service)
			return err
		}
		if err := needed(has, db.options.Service); err != nil {
			return err
		}
		removed, err = db.uninstall(ctx, s, dropArchives)
		return err
	})
	return removed, err
}

// unfinished are the changes that have not come to their end; of any service
// where none is named.
func unfinished(has change.Inventory, service string) (reasons []string) {
	for _, k := range has.Changes {
		if k.Open() && (service == "" || k.Service == service) {
			reasons = append(reasons, fmt.Sprintf("change %s of service %s is %s since %s", k.ID, k.Service, k.State, k.Since.UTC().Format(moment)))
		}
	}
	return reasons
}

// contractFirst is what to do about them.
const contractFirst = "contract it, or take it back with gapless rollback --schema revert where its rollout went back"

func needed(has change.Inventory, service string) error {
	reasons := unfinished(has, "")
	remedy := contractFirst
	for _, c := range has.Claims {
		if c.Service == service {
			continue
		}
		if len(reasons) == 0 {
			remedy = "for a service that is no more, run gapless uninstall --service NAME first"
		}
		reasons = append(reasons, fmt.Sprintf("service %s uses %s since %s", c.Service, change.Columned(c.Columns, c.Table), c.Since.UTC().Format(moment)))
	}
	if len(reasons) > 0 {
		return &HeldError{Reasons: reasons, Remedy: remedy}
	}
	return nil
}

// forget takes back what a service that is no more has claimed.
func (s *session) forget(ctx context.Context, has change.Inventory, service string) (removed change.Removed, err error) {
	if reasons := unfinished(has, service); len(reasons) > 0 {
		return removed, &HeldError{Reasons: reasons, Remedy: contractFirst}
	}
	if _, err := s.Exec(ctx, `delete from gapless.claim where service = $1`, service); err != nil {
		return removed, owners(fmt.Errorf("release the claims of %s: %w", service, err))
	}
	for _, c := range has.Claims {
		if c.Service == service {
			removed.Gone = append(removed.Gone, fmt.Sprintf("claim of %s on %s", service, change.Columned(c.Columns, c.Table)))
		}
	}
	return removed, nil
}

func (db *DB) uninstall(ctx context.Context, s *session, dropArchives bool) (removed change.Removed, err error) {
	triggers, err := names(ctx, s, `select format('trigger %I on %I.%I', t.tgname, n.nspname, c.relname)
		from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
		where t.tgname like '~gapless\_%' and not t.tgisinternal and t.tgparentid = 0 order by 1`)
	if err != nil {
		return removed, err
	}
	for _, trigger := range triggers { // of a change that has ended there is none; this is for what a mishap left
		err := db.inTransaction(ctx, s, trigger, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "drop "+trigger)
			return err
		})
		if err != nil {
			return removed, fmt.Errorf("drop %s: %w", trigger, err)
		}
		removed.Gone = append(removed.Gone, trigger)
	}
	return removed, db.inTransaction(ctx, s, "the schema gapless", func(tx pgx.Tx) error {
		u := uninstaller{tx: tx}
		if err := u.run(ctx, dropArchives); err != nil {
			return err
		}
		removed.Gone, removed.Kept = append(removed.Gone, u.gone...), u.kept
		return nil
	})
}

// names gives the first column of what a query finds.
func names(ctx context.Context, q querier, sql string, args ...any) ([]string, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("look what there is of gapless: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look what there is of gapless: %w", err)
	}
	return list, nil
}

// uninstaller takes our own schema away in one transaction.
type uninstaller struct {
	tx   pgx.Tx
	gone []string
	kept string
}

func (u *uninstaller) run(ctx context.Context, dropArchives bool) error {
	if !dropArchives {
		if err := u.keep(ctx); err != nil {
			return err
		}
	}
	tables, err := names(ctx, u.tx, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'gapless' and c.relkind = 'r' order by 1`)
	if err != nil {
		return err
	}
	functions, err := names(ctx, u.tx, `select oid::regprocedure::text from pg_proc where pronamespace = 'gapless'::regnamespace order by 1`)
	if err != nil {
		return err
	}
	statements := []string{"drop table " + comma(tables)}
	for _, function := range functions {
		statements = append(statements, "drop function "+function)
	}
	for _, statement := range append(statements, "drop schema gapless") {
		if _, err := u.tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	u.gone = append(u.gone, fmt.Sprintf("schema gapless with %d tables and %d functions", len(tables), len(functions)))
	return nil
}

// keep moves the archives, and what tells of them, out of the schema that goes;
// where there are none, nothing.
func (u *uninstaller) keep(ctx context.Context) error {
	var archived bool
	err := u.tx.QueryRow(ctx, `select exists (select from gapless.archive) or exists (select from gapless.kept)`).Scan(&archived)
	if err != nil || !archived {
		return err
	}
	if u.kept, err = u.freeSchema(ctx); err != nil {
		return err
	}
	moved, err := names(ctx, u.tx, `
		select c.relname::text from pg_class c where c.relnamespace = 'gapless'::regnamespace and c.relkind in ('r', 'p')
		  and (c.relname in ('archive', 'archived_definition', 'archived_kept', 'kept', 'log', 'history')
		    or c.oid in (select to_regclass(archive_table) from gapless.archive)) order by 1`)
	if err != nil {
		return err
	}
	statistics, err := names(ctx, u.tx, `select stxname::text from pg_statistic_ext where stxnamespace = 'gapless'::regnamespace order by 1`)
	if err != nil {
		return err
	}
	into := ident(u.kept)
	statements := []string{
		"create schema " + into,
		fmt.Sprintf("comment on schema %s is 'What gapless kept of this database when it was uninstalled: archives, and what tells of them. It is yours; drop it when nobody asks for it any more.'", into),
	}
	for _, name := range moved {
		statements = append(statements, fmt.Sprintf("alter table %s set schema %s", own(name), into))
	}
	for _, name := range statistics { // a table's do not follow it
		statements = append(statements, fmt.Sprintf("alter statistics %s set schema %s", own(name), into))
	}
	for _, statement := range statements {
		if _, err := u.tx.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	// What makes a dropped table again names it where it is.
	for _, name := range slices.Concat(moved, statistics) {
		_, err := u.tx.Exec(ctx, fmt.Sprintf(`update %s.archived_definition set definition =
			replace(replace(definition, $1, $2), 'gapless.' || quote_ident($3), $2) where kind = 'table'`, into), own(name), pgx.Identifier{u.kept, name}.Sanitize(), name)
		if err != nil {
			return fmt.Errorf("keep how dropped tables are made again: %w", err)
		}
	}
	for _, name := range moved {
		_, err := u.tx.Exec(ctx, fmt.Sprintf(`update %s.archive set archive_table = $1 where archive_table = $2`, into), pgx.Identifier{u.kept, name}.Sanitize(), own(name))
		if err != nil {
			return fmt.Errorf("keep where the archives are: %w", err)
		}
	}
	return nil
}

// freeSchema is the first name that is not taken.
func (u *uninstaller) freeSchema(ctx context.Context) (string, error) {
	taken, err := names(ctx, u.tx, `select nspname::text from pg_namespace where nspname like $1`, strings.ReplaceAll(archiveSchema, "_", `\_`)+"%")
	if err != nil {
		return "", err
	}
	name := archiveSchema
	for n := 2; slices.Contains(taken, name); n++ {
		name = fmt.Sprintf("%s_%d", archiveSchema, n)
	}
	return name, nil
}
