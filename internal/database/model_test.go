package database_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/database"
)

// The sync trigger against a model of the rules in docs/design.md, written without looking
// at the trigger: random writes by old and new writers, row by row.

// form is one side of a row; nil is NULL.
type form []*string

func (f form) same(g form) bool {
	return slices.EqualFunc(f, g, func(a, b *string) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) })
}

func (f form) blank() bool { return !slices.ContainsFunc(f, func(v *string) bool { return v != nil }) }

func (f form) String() string {
	var parts []string
	for _, v := range f {
		if v == nil {
			parts = append(parts, "null")
		} else {
			parts = append(parts, strconv.Quote(*v))
		}
	}
	return strings.Join(parts, "|")
}

// world is a change as the model knows it.
type world struct {
	name        string
	change      string
	column      string  // the old column's definition
	def         *string // and then the column takes no NULL
	news        []string
	f, g        func(form) (form, bool) // false: raises
	olds, fresh []string                // values that writers choose from
}

func text(s string) *string { return &s }

var (
	streets = []string{"Main 12", "Main", "12", "12-14", "A12", "Main  12", "Main\t12", "Main 12 ", "Main 12a", "Main 12 a", "Main 007", " 12", "", "5-7", "Route66", "Main 12 b 3"}
	pieces  = []string{"Main", "12", "", "12a", "Main 12", " ", "7 b", "Big Road", "x y"}
)

func split(name, number string) func(form) (form, bool) {
	cut, sub := regexp.MustCompile(name), regexp.MustCompile(number)
	return func(o form) (form, bool) {
		if o[0] == nil {
			return form{nil, nil}, true
		}
		street := text(cut.ReplaceAllString(*o[0], ""))
		if m := sub.FindStringSubmatch(*o[0]); m != nil {
			return form{text(m[1]), street}, true
		}
		return form{nil, street}, true
	}
}

// join is g: the columns are sorted by name, house_number before street_name.
func join(n form) (form, bool) {
	if n.blank() {
		return form{nil}, true
	}
	var parts []string
	for _, v := range []*string{n[1], n[0]} {
		if v != nil {
			parts = append(parts, *v)
		}
	}
	return form{text(strings.Join(parts, " "))}, true
}

const counted = `name: a number that was text
table: address
expand:
  - add_column: {name: n, type: integer}
sync:
  forward: {n: "street::integer"}
  backward: {street: "case when n < 0 then (1 / (n - n))::text else n::text end"}
`

func worlds() []world {
	both := []string{"house_number", "street_name"}
	return []world{
		{name: "lossless", change: example, column: "street text", news: both, g: join, olds: streets, fresh: pieces,
			f: split(` (\d+\s*[[:alpha:]]?)$`, ` (\d+\s*[[:alpha:]]?)$`)},
		{name: "lossy", change: lossy, column: "street text", news: both, g: join, olds: streets, fresh: pieces,
			f: split(`\s+\d+\s*[a-zA-Z]?$`, `(\d+\s*[a-zA-Z]?)$`)},
		{name: "default", change: lossy, column: "street text not null default 'Unknown 1'", def: text("Unknown 1"), news: both, g: join, olds: streets, fresh: pieces,
			f: split(`\s+\d+\s*[a-zA-Z]?$`, `(\d+\s*[a-zA-Z]?)$`)},
		{name: "raising", change: counted, column: "street text", news: []string{"n"},
			olds: []string{"1", "007", "x", "", "12", " 3", "99999999999"}, fresh: []string{"1", "7", "-5", "12", "0"},
			f: func(o form) (form, bool) {
				if o[0] == nil {
					return form{nil}, true
				}
				n, err := strconv.ParseInt(strings.TrimSpace(*o[0]), 10, 32)
				if err != nil {
					return nil, false
				}
				return form{text(strconv.FormatInt(n, 10))}, true
			},
			g: func(n form) (form, bool) {
				if n[0] != nil && strings.HasPrefix(*n[0], "-") {
					return nil, false
				}
				return form{n[0]}, true
			}},
	}
}

type modelRow struct{ o, n form }

func (r modelRow) String() string { return r.o.String() + " -> " + r.n.String() }

// keep is a row of gapless.kept: the key, the side and value, and why.
func keep(id int64, side, why string, value form) string {
	return fmt.Sprintf("%d %s %s %s", id, side, why, value)
}

// write is what the rules make of a writer's row. was is nil for an INSERT. ok
// is false where the write must be rejected.
func (w world) write(id, wasID int64, was *modelRow, row modelRow) (after modelRow, kept []string, ok bool) {
	var oWritten, nWritten bool
	if was == nil {
		oWritten = !row.o.same(form{w.def})
		nWritten = !row.n.blank()
	} else {
		oWritten, nWritten = !row.o.same(was.o), !row.n.same(was.n)
		if !oWritten && !nWritten && (id == wasID || !row.n.blank()) {
			return row, nil, true
		}
	}
	f, fOK := w.f(row.o)
	if fOK && row.n.same(f) {
		return row, nil, true
	}
	g, gOK := w.g(row.n)
	if !gOK && nWritten {
		return row, nil, false
	}
	if gOK && row.o.same(g) {
		return row, nil, true
	}
	if nWritten {
		if oWritten {
			kept = append(kept, keep(id, "old", "conflict", row.o))
		}
		if was != nil && !was.o.blank() {
			if back, ok := w.g(was.n); !ok || !was.o.same(back) {
				kept = append(kept, keep(wasID, "old", "residue", was.o))
			}
		}
		return modelRow{o: g, n: row.n}, kept, w.def == nil || !g.blank()
	}
	if was != nil && !was.n.blank() {
		if there, ok := w.f(was.o); !ok || !was.n.same(there) {
			kept = append(kept, keep(wasID, "new", "residue", was.n))
		}
	}
	if fOK {
		return modelRow{o: row.o, n: f}, kept, true
	}
	if oWritten || was == nil {
		kept = append(kept, keep(id, "old", "unmapped", row.o))
	}
	return modelRow{o: row.o, n: make(form, len(row.n))}, kept, true
}

// setting is what the table is besides; it changes nothing about the rules.
type setting struct {
	name  string
	table string // its definition but for the old column
	rest  string // what is made with it
	key   string
	hides bool
}

func settings() []setting {
	const own = `create function ours() returns trigger language plpgsql as $$ begin new.phone := coalesce(new.phone, '') || 'o'; return new; end $$;
		create trigger ours before insert or update on address for each row execute function ours()`
	return []setting{
		{name: "plain", table: "address (id bigint primary key, %s, phone text)", key: "id"},
		{name: "composite key, partitioned, own trigger", key: "tag, id",
			table: `address (id numeric(20, 0) not null, %s, tag text collate "C" not null default 'é"''k', phone text, primary key (tag, id)) partition by list (tag)`,
			rest:  "create table address_k partition of address default; " + own},
		{name: "hidden", table: "address (id bigint primary key, %s, phone text)", key: "id", hides: true},
	}
}

// play is one run of writes against the database and the model.
type play struct {
	w    world
	in   setting
	old  string // the old column's name in the table
	s    *stage
	rows map[int64]modelRow
	kept []string
}

func (p *play) value(t *rapid.T, from []string, label string) *string {
	i := rapid.IntRange(-1, len(from)-1).Draw(t, label)
	if i < 0 {
		return nil
	}
	return &from[i]
}

// draw chooses columns to write and their values; row is what they are in now.
func (p *play) draw(t *rapid.T, row modelRow) (columns []string, values []any, after modelRow) {
	after = modelRow{o: slices.Clone(row.o), n: slices.Clone(row.n)}
	if !p.in.hides && rapid.IntRange(0, 2).Draw(t, "old") > 0 {
		v := p.value(t, p.w.olds, "street")
		if v == nil && p.w.def != nil {
			v = p.w.def // NOT NULL
		}
		columns, values, after.o[0] = append(columns, "street"), append(values, v), v
	}
	for i, name := range p.w.news {
		if rapid.IntRange(0, 3).Draw(t, "new") == 0 {
			v := p.value(t, p.w.fresh, name)
			columns, values, after.n[i] = append(columns, name), append(values, v), v
		}
	}
	return columns, values, after
}

func (p *play) id(t *rapid.T) int64 { return rapid.Int64Range(1, 6).Draw(t, "id") }

// did compares the database's answer with the model's for one write.
func (p *play) did(t *rapid.T, what string, err error, kept []string, ok bool) bool {
	if (err == nil) != ok {
		t.Fatalf("%s: the database said %v, the model accepts: %v", what, err, ok)
	}
	if ok {
		p.kept = append(p.kept, kept...)
	}
	return ok
}

func (p *play) insert(t *rapid.T) {
	id := p.id(t)
	columns, values, row := p.draw(t, modelRow{o: form{p.w.def}, n: make(form, len(p.w.news))})
	columns, values = append(columns, "id"), append(values, id)
	statement := "insert into address (" + strings.Join(columns, ", ") + ") values (" + params(len(columns)) + ")"
	proposed, kept, ok := p.w.write(id, 0, nil, row)
	if was, there := p.rows[id]; there {
		updates := []string{"", strings.Join(p.w.news, ","), "street"}
		if p.in.hides {
			updates = updates[:2]
		}
		update := rapid.SampledFrom(updates).Draw(t, "on conflict")
		next := modelRow{o: was.o, n: was.n}
		switch update {
		case "":
			statement += " on conflict do nothing"
		case "street":
			statement += " on conflict (" + p.in.key + ") do update set street = excluded.street"
			next.o = proposed.o
		default:
			var sets []string
			for _, name := range p.w.news {
				sets = append(sets, fmt.Sprintf("%[1]s = excluded.%[1]s", name))
			}
			statement += " on conflict (" + p.in.key + ") do update set " + strings.Join(sets, ", ")
			next.n = proposed.n
		}
		if ok {
			var more []string
			if update == "" {
				proposed = was
			} else if proposed, more, ok = p.w.write(id, id, &was, next); ok {
				kept = append(kept, more...)
			}
		}
	}
	_, err := p.s.app.Exec(t.Context(), statement, values...)
	if p.did(t, statement, err, kept, ok) {
		p.rows[id] = proposed
	}
}

func (p *play) update(t *rapid.T) {
	id, to := p.id(t), p.id(t)
	was, there := p.rows[id]
	if !there {
		was = modelRow{o: form{nil}, n: make(form, len(p.w.news))}
	}
	columns, values, row := p.draw(t, was)
	columns, values = append(columns, "phone"), append(values, "p")
	if _, taken := p.rows[to]; !taken && rapid.IntRange(0, 3).Draw(t, "move") == 0 {
		columns, values = append(columns, "id"), append(values, to)
	} else {
		to = id
	}
	var sets []string
	for i, c := range columns {
		sets = append(sets, fmt.Sprintf("%s = $%d", c, i+1))
	}
	statement := fmt.Sprintf("update address set %s where id = %d", strings.Join(sets, ", "), id)
	after, kept, ok := p.w.write(to, id, &was, row)
	if !there {
		after, kept, ok = was, nil, true
	}
	_, err := p.s.app.Exec(t.Context(), statement, values...)
	if p.did(t, statement, err, kept, ok) && there {
		delete(p.rows, id)
		p.rows[to] = after
	}
}

func (p *play) remove(t *rapid.T) {
	id := p.id(t)
	_, err := p.s.app.Exec(t.Context(), `delete from address where id = $1`, id)
	p.did(t, "delete", err, nil, true)
	delete(p.rows, id)
}

// compare looks at every row and every kept value.
func (p *play) compare(t *rapid.T) {
	var columns []string
	for _, name := range p.w.news {
		columns = append(columns, name+"::text")
	}
	rows, err := p.s.app.Query(t.Context(), "select id::bigint, \""+p.old+"\", array["+strings.Join(columns, ",")+"] from address order by id")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]modelRow{}
	var id int64
	var o *string
	var n []*string
	if _, err := pgx.ForEachRow(rows, []any{&id, &o, &n}, func() error {
		seen[id] = modelRow{o: form{o}, n: slices.Clone(n)}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(seen) != fmt.Sprint(p.rows) {
		t.Fatalf("the database holds\n%v\nthe model\n%v", seen, p.rows)
	}
	p.compareKept(t)
}

func (p *play) compareKept(t *rapid.T) {
	rows, err := p.s.app.Query(t.Context(), `select (key->>'id')::bigint, side, why,
		array(select v.value from jsonb_each_text(k.value) v order by v.key) from gapless.kept k order by n`)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	var id int64
	var side, why string
	var value []*string
	if _, err := pgx.ForEachRow(rows, []any{&id, &side, &why, &value}, func() error {
		kept = append(kept, keep(id, side, why, value))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(kept, p.kept) {
		t.Fatalf("kept\n%s\nthe model\n%s", strings.Join(kept, "\n"), strings.Join(p.kept, "\n"))
	}
}

func params(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(list, ", ")
}

func TestSyncFollowsTheModel(t *testing.T) {
	t.Parallel()
	for _, in := range settings() {
		for _, w := range worlds() {
			if in.name != "plain" && w.name != "lossy" && w.name != "default" {
				continue
			}
			t.Run(in.name+", "+w.name, func(t *testing.T) { followsTheModel(t, in, w) })
		}
	}
}

func followsTheModel(t *testing.T, in setting, w world) {
	s := newStage(t, database.Options{})
	s.exec(t, "create table "+fmt.Sprintf(in.table, w.column)+"; "+in.rest)
	text, steps := w.change+"accept: {triggers: they change nothing that is mapped}\n", []change.StepKind{change.Prepare, change.AddColumns, change.Synchronise}
	if in.hides {
		text += "hide_for: 1h\n"
	}
	c := parse(t, exampleID, text)
	for _, step := range change.ExpandSteps(c) {
		if in.hides || slices.Contains(steps, step.Kind) {
			s.run(t, c, []change.Step{step})
		}
	}
	old := "street"
	if in.hides {
		s.run(t, c, change.ContractSteps(c)[:1])
		old = one[string](t, s, `select attname::text from pg_attribute where attrelid = 'address'::regclass and attname like '~gapless%'`)
	}
	rapid.Check(t, func(t *rapid.T) {
		if _, err := s.app.Exec(t.Context(), `with a as (delete from address) delete from gapless.kept`); err != nil {
			t.Fatal(err)
		}
		p := &play{w: w, in: in, old: old, s: s, rows: map[int64]modelRow{}}
		t.Repeat(map[string]func(*rapid.T){"insert": p.insert, "update": p.update, "remove": p.remove})
		p.compare(t)
	})
}
