package database

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gapless-deploy/gapless/internal/change"
)

// relation is a change's R on a real table: what the generated SQL is made of.
// A change without sync has neither side.
type relation struct {
	change   change.Change
	table    table
	old, new []column
	// abandoned are dropped and have no new form.
	abandoned []column
	mapping   mapping
}

// relationOf puts the change, its table and its mapping together.
func relationOf(c change.Change, t table, m mapping) (relation, error) {
	r := relation{change: c, table: t, mapping: m}
	for _, side := range []struct {
		names []string
		into  *[]column
		exprs map[string]string
	}{{c.OldColumns(), &r.old, m.Backward}, {c.NewColumns(), &r.new, m.Forward}, {c.Abandoned(), &r.abandoned, nil}} {
		for _, name := range side.names {
			column, ok := t.seen(c.ID, name)
			if !ok {
				return r, &RefusedError{Change: c.ID, Reasons: []string{fmt.Sprintf("table %s has no column %q", t.ident(), name)},
					Remedy: "run expand again"}
			}
			if side.exprs[name] == "" && side.into != &r.abandoned {
				return r, fmt.Errorf("change %s: no expression for column %q", c.ID, name)
			}
			*side.into = append(*side.into, column)
		}
	}
	return r, nil
}

// seen is a column under its own name or, while it is hidden, under the one
// that hides it.
func (t table) seen(change, name string) (column, bool) {
	if c, ok := t.column(name); ok {
		return c, true
	}
	c, ok := t.column(hiddenName(change, name))
	c.name, c.hidden = name, c.name
	return c, ok
}

// hiddenName is what a column is called while contract hides it.
func hiddenName(change, name string) string {
	return "~gapless_hidden_" + hash(change + "\x00" + name)[:16]
}

// dropped are the columns that contract drops.
func (r relation) dropped() []column {
	if len(r.change.Dropped()) == 0 {
		return nil
	}
	return slices.Concat(r.old, r.abandoned)
}

// synced tells whether there are two forms to be kept in step.
func (r relation) synced() bool { return len(r.old) > 0 }

// relation reads a change's R from the database, as the sync step left it.
func (s *session) relation(ctx context.Context, c change.Change, st standing) (relation, error) {
	t, err := resolveTable(ctx, s, c)
	if err != nil {
		return relation{}, err
	}
	if len(t.key) == 0 {
		return relation{}, &RefusedError{Change: c.ID, Reasons: []string{fmt.Sprintf("table %s has lost its key", t.ident())}}
	}
	return relationOf(c, t, st.mapping)
}

// base is the part of a change's own names that tells it from others. Names end
// at 63 bytes; a long ID is cut and given a hash.
func base(id string) string {
	const most = 40
	if len(id) <= most {
		return id
	}
	const kept, hashed = 31, 8
	cut := id[:kept]
	for !utf8.ValidString(cut) {
		cut = cut[:len(cut)-1]
	}
	return cut + "_" + hash(id)[:hashed]
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func (r relation) base() string { return base(r.change.ID) }

// f is the expression for a new column, g that for an old one.
func (r relation) f(c column) string { return r.mapping.Forward[c.name] }
func (r relation) g(c column) string { return r.mapping.Backward[c.name] }

func idents(columns []column, prefix string) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = prefix + c.ident()
	}
	return list
}

func labels(columns []column, prefix string) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = prefix + c.label()
	}
	return list
}

func comma(list []string) string { return strings.Join(list, ", ") }

// differ is true where any column's value under prefix a is another than that
// under prefix b.
func differ(columns []column, a, b func(i int, c column) string) string {
	if len(columns) == 0 {
		return "false"
	}
	terms := make([]string, len(columns))
	for i, c := range columns {
		terms[i] = distinct(c, a(i, c), b(i, c))
	}
	return "(" + strings.Join(terms, " or ") + ")"
}

func distinct(c column, a, b string) string {
	if c.exact && c.collate == "" {
		return fmt.Sprintf("%s is distinct from %s", a, b)
	}
	if c.exact { // equal text is the same text under any collation; two that differ could not be compared
		return fmt.Sprintf(`%s collate "C" is distinct from %s collate "C"`, a, b)
	}
	texts := fmt.Sprintf(`(%s)::text collate "C" is distinct from (%s)::text collate "C"`, a, b)
	if !c.builtIn {
		return texts
	}
	return fmt.Sprintf("(%s or %s is distinct from %s)", texts, a, b)
}

func under(prefix string) func(int, column) string {
	return func(_ int, c column) string { return prefix + c.ident() }
}

func bare(_ int, c column) string { return c.label() }

// labelled is a column of what a function or an archive gives.
func labelled(prefix string) func(int, column) string {
	return func(_ int, c column) string { return prefix + c.label() }
}

func numbered(prefix string) func(int, column) string {
	return func(i int, _ column) string { return fmt.Sprintf("%s%d", prefix, i+1) }
}

// allNull is true where every column is null, anyNotNull where one is not.
func allNull(columns []column, prefix string) string {
	return "(" + strings.Join(idents(columns, prefix), " is null and ") + " is null)"
}

func anyNotNull(columns []column, prefix string) string {
	return "(" + strings.Join(idents(columns, prefix), " is not null or ") + " is not null)"
}

// object is a jsonb object of the columns' values.
func object(columns []column, prefix string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = fmt.Sprintf("%s, %s", literal(c.name), prefix+c.ident())
	}
	return "jsonb_build_object(" + comma(parts) + ")"
}

// noteEvery is the interval at which a writer of the old form is noted: a
// fraction of quiet_for, which it makes uncertain by as much.
func noteEvery(quietFor time.Duration) time.Duration {
	const fraction = 10
	return min(max(quietFor/fraction, time.Second), time.Minute)
}
