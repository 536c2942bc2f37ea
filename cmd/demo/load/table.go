package load

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

// Seed creates the table and puts n addresses into it.
func Seed(ctx context.Context, conn *pgx.Conn, n int) error {
	if _, err := conn.Exec(ctx, addressbook.Schema); err != nil {
		return fmt.Errorf("create table address: %w", err)
	}
	rows := pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		id := int64(i + 1)
		return []any{id, fmt.Sprint("person ", id), fmt.Sprintf("555-%07d", id), Line(i + 1)}, nil
	})
	if _, err := conn.CopyFrom(ctx, pgx.Identifier{"address"}, []string{"id", "name", "phone", "street"}, rows); err != nil {
		return fmt.Errorf("fill table address: %w", err)
	}
	for _, sql := range []string{
		"select setval(pg_get_serial_sequence('address', 'id'), (select max(id) from address))",
		"vacuum (analyze) address",
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("prepare table address: %w", err)
		}
	}
	return nil
}

// OldForm reads the table, or an archive of it, as the old revision does. table
// is its name as SQL has it, quoted where that is needed.
func OldForm(ctx context.Context, conn *pgx.Conn, table string) ([]Row, error) {
	return read(ctx, conn, table, "street", func(row pgx.CollectableRow) (Row, error) {
		var r Row
		err := row.Scan(&r.ID, &r.Line)
		return r, err
	})
}

// NewForm reads the table as the new revision does.
func NewForm(ctx context.Context, conn *pgx.Conn, table string) ([]Row, error) {
	return read(ctx, conn, table, "street_name, house_number", func(row pgx.CollectableRow) (Row, error) {
		var r Row
		var name, number *string
		err := row.Scan(&r.ID, &name, &number)
		r.Line = addressbook.JoinLine(name, number)
		return r, err
	})
}

func read(ctx context.Context, conn *pgx.Conn, table string, columns string, scan pgx.RowToFunc[Row]) ([]Row, error) {
	// One statement, one snapshot.
	rows, err := conn.Query(ctx, "select id, "+columns+" from "+table)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	found, err := pgx.CollectRows(rows, scan)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	return found, nil
}
