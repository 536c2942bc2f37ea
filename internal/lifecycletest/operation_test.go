package lifecycletest

import (
	"regexp"
	"slices"
	"strings"
)

// operation is a change that is tried on every kind of table, with what the two
// revisions do meanwhile.
type operation struct {
	name    string
	since   int            // the oldest PostgreSQL that has it; 0 for all
	sinceOn map[string]int // the same for a kind of table
	setup   string         // template: what it needs beside the table
	change  string         // template: the change file without name, table and accept
	table   string         // template: the change's table, by default the one of the kind
	creates bool           // the application's role is granted what it creates
	final   bool           // what contract does is not taken back
	lasting string         // how lines of the catalog begin that its way back leaves

	old, new revision
	sync     *mapping // what keeps the two in step; nil for nothing
	// What an INSERT gives to columns that it leaves out: before expand, from
	// then on, and after contract.
	before, between, after row
	// required are columns that take no NULL, whoever writes it.
	required []string
	// settle is what contract makes of a row.
	settle func(row) row
	// mend is what a person does before the way back to rows that only the new
	// revision may write, and what it makes of a row.
	mend   string
	mended func(row) row
}

// from is the oldest PostgreSQL that has it on a kind of table; 0 for all.
func (o operation) from(k kind) int { return max(o.since, o.sinceOn[k.name]) }

var (
	street = column{name: "street", values: oneOf("Main St 12", "12", "A12", "Main  12", "Main 12 ", "Main", "", "Route66", "Straße 12ä", "通り 3", "O'Brien \\ 5", null)}
	qty    = column{name: "qty", values: oneOf("1", "2", "-7", "2147483647", null)}
	first  = column{name: "first", values: oneOf("Ann", "Bo", "", "O'Hara", null)}
	last   = column{name: "last", values: oneOf("Lee", "van Dam", null)}
)

func named(name string, c column) column { c.name = name; return c }

// knows is a revision that reads and writes columns.
func knows(columns ...column) revision { return revision{columns: columns} }

func operations() []operation {
	return slices.Concat(columnOperations(), syncOperations(), laidOperations(), objectOperations())
}

func columnOperations() []operation {
	return []operation{
		{name: "`add_column`", change: `expand: [{add_column: {name: {{y "extra"}}, type: text}}]`,
			old: knows(street, qty), new: knows(street, qty, named("extra", first))},
		{name: "`add_column`, a constant default", change: `expand: [{add_column: {name: {{y "extra"}}, type: text, default: "'none'", not_null: true}}]`,
			old: knows(street, qty), new: knows(street, column{name: "extra", values: oneOf("a", "", "none")}),
			between: row{"extra": "none"}, after: row{"extra": "none"}},
		{name: "`add_column`, a volatile default", change: `expand: [{add_column: {name: {{y "extra"}}, type: integer, default: "1 + (random() * 0)::integer", not_null: true}}]`,
			old: knows(street, qty), new: knows(street, column{name: "extra", values: oneOf("1", "5")}),
			between: row{"extra": "1"}, after: row{"extra": "1"}},
		{name: "`add_column`, generated", since: 18, change: "expand:\n- add_column:\n    name: {{y \"extra\"}}\n    type: bigint\n    generated: |-\n      {{c \"qty\"}}::bigint * 2",
			old: knows(street, qty), new: revision{columns: []column{street, qty}, also: []string{`select 1 / (case when count(*) = 0 then 1 else 0 end) from {{table}} where {{c "extra"}} is distinct from {{c "qty"}}::bigint * 2`}}},
		{name: "`drop_column`", change: `contract: [{drop_column: {{y "qty"}}}]`,
			old: knows(street, qty), new: knows(street)},
	}
}

// number is what stands last in a street, as PostgreSQL finds it.
var number = regexp.MustCompile(` (\d+\s*\pL?)$`)

func syncOperations() []operation {
	return []operation{
		{name: "`rename_column`", change: `expand: [{rename_column: {from: {{y "street"}}, to: {{y "road"}}}}]`,
			old: knows(street, qty), new: knows(named("road", street), qty),
			sync: &mapping{old: []string{"street"}, new: []string{"road"}, f: same("street", "road"), g: same("road", "street")}},
		{name: "`change_type`, wider", change: `expand: [{change_type: {column: {{y "qty"}}, to: {{y "amount"}}, type: bigint, back: 'case when {{c "amount"}} > 2147483647 then 2147483647 else {{c "amount"}} end'}}]`,
			old: knows(street, qty), new: knows(street, column{name: "amount", values: oneOf("1", "7", "5000000000", null)}),
			sync: &mapping{old: []string{"qty"}, new: []string{"amount"}, f: same("qty", "amount"), g: always(func(r row) row {
				v, ok := r["amount"]
				switch {
				case !ok:
					return row{}
				case len(v) > 9:
					v = "2147483647"
				}
				return row{"qty": v}
			})}},
		{name: "`change_type`, text to an enum", setup: `create type {{beside "mood_of"}} as enum ('good', 'bad')`,
			change: "expand:\n- change_type:\n    column: {{y \"mood\"}}\n    to: {{y \"feeling\"}}\n    type: {{yb \"mood_of\"}}\n    using: |-\n      (case when {{c \"mood\"}} in ('good', 'bad') then {{c \"mood\"}} when {{c \"mood\"}} is not null then 'bad' end)::{{beside \"mood_of\"}}\n    back: |-\n      {{c \"feeling\"}}::text\nverify: {lossy_max: 1000000}",
			old:    knows(street, column{name: "mood", values: oneOf("good", "bad", "so so", "", null)}),
			new:    knows(street, column{name: "feeling", values: oneOf("good", "bad", null)}),
			sync: &mapping{old: []string{"mood"}, new: []string{"feeling"}, g: same("feeling", "mood"), f: always(func(r row) row {
				v, ok := r["mood"]
				switch {
				case !ok:
					return row{}
				case v != "good":
					v = "bad"
				}
				return row{"feeling": v}
			})}},
		{name: "`sync`: a column split", change: `expand:
- add_column: {name: {{y "name"}}, type: text}
- add_column: {name: {{y "number"}}, type: text}
- create_index: {columns: [{{y "name"}}]}
sync:
  forward:
    {{y "name"}}: |-
      regexp_replace({{c "street"}}, ' (\d+\s*[[:alpha:]]?)$', '')
    {{y "number"}}: |-
      substring({{c "street"}} from ' (\d+\s*[[:alpha:]]?)$')
  backward:
    {{y "street"}}: |-
      case when {{c "name"}} is null and {{c "number"}} is null then null else concat_ws(' ', {{c "name"}}, {{c "number"}}) end
contract: [{drop_column: {{y "street"}}}]`,
			old: knows(street, qty), new: knows(column{name: "name", values: oneOf("Main", "Big Road", "12", "", null)}, column{name: "number", values: oneOf("12", "7 b", "x", null)}, qty),
			sync: &mapping{old: []string{"street"}, new: []string{"name", "number"},
				f: always(func(r row) row {
					v, ok := r["street"]
					if !ok {
						return row{}
					}
					split := row{"name": number.ReplaceAllString(v, "")}
					if m := number.FindStringSubmatch(v); m != nil {
						split["number"] = m[1]
					}
					return split
				}),
				g: always(func(r row) row { return join(r, "street", "name", "number") })}},
		{name: "`sync`: columns merged", change: `expand: [{add_column: {name: {{y "full"}}, type: text}}]
sync:
  forward:
    {{y "full"}}: |-
      case when {{c "first"}} is null and {{c "last"}} is null then null else concat_ws('/', {{c "first"}}, {{c "last"}}) end
  backward:
    {{y "first"}}: |-
      split_part({{c "full"}}, '/', 1)
    {{y "last"}}: |-
      nullif(substring({{c "full"}} from '/(.*)$'), '')
verify: {lossy_max: 1000000}
contract: [{drop_column: {{y "first"}}}, {drop_column: {{y "last"}}}]`,
			old: knows(first, last, qty), new: knows(column{name: "full", values: oneOf("Ann/Lee", "Bo", "/", "/x", "a/b/c", "", null)}, qty),
			sync: &mapping{old: []string{"first", "last"}, new: []string{"full"}, f: always(merge), g: always(cut)}},
	}
}

// join is concat_ws with a blank; NULL where there is nothing to join.
func join(r row, into string, columns ...string) row {
	var parts []string
	for _, c := range columns {
		if v, ok := r[c]; ok {
			parts = append(parts, v)
		}
	}
	if parts == nil {
		return row{}
	}
	return row{into: strings.Join(parts, " ")}
}

func merge(r row) row {
	joined := join(r, "full", "first", "last")
	f, hasFirst := r["first"]
	l, hasLast := r["last"]
	if hasFirst && hasLast {
		joined["full"] = f + "/" + l
	}
	return joined
}

func cut(r row) row {
	v, ok := r["full"]
	if !ok {
		return row{}
	}
	f, l, _ := strings.Cut(v, "/")
	if l == "" {
		return row{"first": f}
	}
	return row{"first": f, "last": l}
}
