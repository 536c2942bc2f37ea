package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// over sets the archived values to those of the row that was proposed.
func (a *archiver) over() string {
	var sets []string
	for _, c := range a.values {
		sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", c.label()))
	}
	return comma(sets)
}

// put copies rows into the archive, over those that are there.
func (a *archiver) put(ctx context.Context, tx pgx.Tx, from string, args []any) (int64, error) {
	columns := a.columns()
	tag, err := tx.Exec(ctx, fmt.Sprintf(mark+`insert into %s (%s) select %s from %s on conflict (%s) do update set %s`,
		a.name, comma(labels(columns, "")), comma(idents(columns, "")), from, comma(labels(a.t.key, "")), a.over()), args...)
	if err != nil {
		return 0, fmt.Errorf("archive rows of %s: %w", a.t.ident(), err)
	}
	return tag.RowsAffected(), nil
}

// drain archives captured rows again until fewer than few are left.
func (a *archiver) drain(ctx context.Context, few int64) error {
	const chunk = 10_000
	for {
		var n int64
		err := a.w.db.retry(ctx, a.w.s, "table "+a.t.ident(), a.w.s.options.LockTimeout, func() error {
			return pgx.BeginFunc(ctx, a.w.s.Conn, func(tx pgx.Tx) (err error) {
				if _, err := tx.Exec(ctx, fmt.Sprintf(`lock table %s in access share mode`, a.t.ident())); err != nil {
					return err
				}
				if err := a.attached(ctx, tx); err != nil {
					return err
				}
				n, err = a.refresh(ctx, tx, chunk)
				return err
			})
		})
		if err != nil || n < few {
			return err
		}
	}
}

// attached archives the rows of partitions that came since the archive was
// begun: they came past the triggers.
func (a *archiver) attached(ctx context.Context, tx pgx.Tx) error {
	if !a.t.partitioned() {
		return nil
	}
	rows, err := tx.Query(ctx, `
		select format('%I.%I', n.nspname, c.relname) from pg_partition_tree($2::oid::regclass) p
		join pg_class c on c.oid = p.relid join pg_namespace n on n.oid = c.relnamespace
		where p.isleaf and c.oid <> all (array(select unnest(partitions) from gapless.archive where archive_table = $1))`, a.name, a.t.oid)
	if err != nil {
		return fmt.Errorf("look for new partitions of %s: %w", a.t.ident(), err)
	}
	partitions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look for new partitions of %s: %w", a.t.ident(), err)
	}
	for _, partition := range partitions {
		if _, err := a.put(ctx, tx, partition+" where true", nil); err != nil {
			return err
		}
	}
	if len(partitions) == 0 {
		return nil
	}
	_, err = tx.Exec(ctx, `update gapless.archive set partitions = array(select relid::oid from pg_partition_tree($2::oid::regclass) where isleaf)
		where archive_table = $1`, a.name, a.t.oid)
	if err != nil {
		return fmt.Errorf("note the new partitions of %s: %w", a.t.ident(), err)
	}
	return nil
}

// refresh brings the archive up to date for at most n captured rows. They are
// taken out of the capture, and read again from the table, in one statement and
// so at one moment: whoever captured a key later is seen later.
func (a *archiver) refresh(ctx context.Context, tx pgx.Tx, n int) (captured int64, err error) {
	k, columns := a.t.key, a.columns()
	var same, archived, again []string
	for _, c := range k {
		same = append(same, fmt.Sprintf("t.%s = g.%s", c.ident(), c.label()))
		archived = append(archived, fmt.Sprintf("t.%[1]s = g.%[1]s", c.label()))
		again = append(again, fmt.Sprintf("p.%[1]s = g.%[1]s", c.label()))
	}
	var present []string
	for _, c := range columns {
		present = append(present, fmt.Sprintf("t.%s as %s", c.ident(), c.label()))
	}
	err = tx.QueryRow(ctx, fmt.Sprintf(mark+`
		with taken as (delete from %[1]s where n in (select n from %[1]s order by n limit $1) returning %[2]s),
		changed as (select distinct %[2]s from taken),
		present as materialized (select %[3]s from changed g join %[4]s t on %[5]s),
		put as (insert into %[6]s (%[7]s) select %[7]s from present on conflict (%[2]s) do update set %[8]s returning 1),
		gone as (delete from %[6]s t using changed g where %[9]s and not exists (select from present p where %[10]s) returning 1)
		select (select count(*) from taken), (select count(*) from put) + (select count(*) from gone)`,
		a.capture(), comma(labels(k, "")), comma(present), a.t.ident(), strings.Join(same, " and "), a.name, comma(labels(columns, "")), a.over(),
		strings.Join(archived, " and "), strings.Join(again, " and ")), n).Scan(&captured, new(int64))
	if err != nil {
		return 0, fmt.Errorf("archive changed rows of %s: %w", a.t.ident(), err)
	}
	return captured, nil
}

// rest archives what is still captured; nobody writes meanwhile.
func (a *archiver) rest(ctx context.Context, tx pgx.Tx) error {
	if err := a.attached(ctx, tx); err != nil {
		return err
	}
	for {
		n, err := a.refresh(ctx, tx, fewKeys)
		if err != nil || n == 0 {
			return err
		}
	}
}
