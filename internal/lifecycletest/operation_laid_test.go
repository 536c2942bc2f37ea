package lifecycletest

// Operations that lay something on columns, or take it off.

var (
	small  = named("qty", column{values: oneOf("1", "2", "3")})
	unique = func(name string) column { return column{name: name, values: distinct} }
)

// adds is an expand that adds the column extra and then lays something on it,
// which only the new revision writes.
func adds(sqlType, what string) string {
	return `expand: [{add_column: {name: {{y "extra"}}, type: ` + sqlType + `}}, ` + what + `]`
}

const place = `create table {{beside "place"}} (id integer primary key); insert into {{beside "place"}} select generate_series(1, 3)`

func laidOperations() []operation {
	filled := func(r row) row {
		if _, there := r["qty"]; !there {
			r = apply(r, row{"qty": "0"})
		}
		return r
	}
	needed := small
	needed.always = true
	return []operation{
		{name: "`set_not_null`", change: `contract: [{set_not_null: {column: {{y "qty"}}, fill: "0"}}]`,
			old: knows(street, qty), new: knows(street, needed), settle: filled},
		{name: "`drop_not_null`", setup: `alter table {{table}} alter {{c "qty"}} set not null`,
			change: `expand: [{drop_not_null: {column: {{y "qty"}}, because: the harness reads NULL}}]`,
			old:    knows(street, needed), new: knows(street, qty),
			mend: `update {{table}} set {{c "qty"}} = 0 where {{c "qty"}} is null`, mended: filled},
		{name: "`set_default`", change: `expand: [{set_default: {column: {{y "qty"}}, value: "7"}}]`,
			old: knows(street, qty), new: knows(street, qty), between: row{"qty": "7"}, after: row{"qty": "7"}},
		{name: "`drop_default`", setup: `alter table {{table}} alter {{c "qty"}} set default 5`, change: `contract: [{drop_default: {{y "qty"}}}]`,
			old: knows(street, qty), new: knows(street, qty), before: row{"qty": "5"}, between: row{"qty": "5"}},

		{name: "`add_check` in expand", change: adds("integer", `{add_check: {name: {{y "few"}}, expression: '{{c "extra"}} < 10'}}`),
			old: knows(street, qty), new: knows(street, named("extra", small))},
		{name: "`add_check` in contract", change: `contract: [{add_check: {name: {{y "few"}}, expression: '{{c "qty"}} < 10'}}]`,
			old: knows(street, small), new: knows(street, small)},
		{name: "`add_unique` in expand", change: adds("text", `{add_unique: {name: {{y "only"}}, columns: [{{y "extra"}}]}}`),
			old: knows(street, qty), new: knows(street, unique("extra"))},
		{name: "`add_unique` in contract", change: `contract: [{add_unique: {name: {{y "only"}}, columns: [{{y "street"}}]}}]`,
			old: knows(unique("street"), qty), new: knows(unique("street"), qty)},
		{name: "`add_foreign_key` in expand", sinceOn: map[string]int{partitioned: 18}, setup: place,
			change: adds("integer", `{add_foreign_key: {name: {{y "placed"}}, columns: [{{y "extra"}}], references: {table: {{yb "place"}}, columns: [id]}}}`),
			old:    knows(street, qty), new: knows(street, named("extra", small))},
		{name: "`add_foreign_key` in contract", sinceOn: map[string]int{partitioned: 18}, setup: place,
			change: `contract: [{add_foreign_key: {name: {{y "placed"}}, columns: [{{y "qty"}}], references: {table: {{yb "place"}}, columns: [id]}, on_delete: cascade}}]`,
			old:    knows(street, small), new: knows(street, small)},
		{name: "`drop_constraint`, a check", setup: `alter table {{table}} add constraint {{c "few"}} check ({{c "qty"}} < 10)`,
			change: `contract: [{drop_constraint: {name: {{y "few"}}}}]`, old: knows(street, small), new: knows(street, small)},
		{name: "`drop_constraint` in expand", setup: `alter table {{table}} add constraint {{c "few"}} check ({{c "qty"}} < 10)`,
			change: `expand: [{drop_constraint: {name: {{y "few"}}, because: the harness reads any}}]`,
			old:    knows(street, small), new: knows(street, qty), mend: `update {{table}} set {{c "qty"}} = 0 where {{c "qty"}} >= 10`,
			mended: func(r row) row {
				if len(r["qty"]) > 1 && r["qty"][0] != '-' {
					r = apply(r, row{"qty": "0"})
				}
				return r
			}},
		{name: "`drop_constraint`, a foreign key", setup: place + `; alter table {{table}} add constraint {{c "placed"}} foreign key ({{c "qty"}}) references {{beside "place"}}`,
			change: `contract: [{drop_constraint: {name: {{y "placed"}}}}]`, old: knows(street, small), new: knows(street, small)},

		{name: "`create_index`", change: `expand: [{create_index: {columns: [{{y "street"}}, {{y "qty"}}]}}]`,
			old: knows(street, qty), new: knows(street, qty)},
		{name: "`create_index` on an expression, partial", change: "expand:\n- create_index:\n    name: {{y \"lowered\"}}\n    on:\n    - |-\n      lower({{c \"street\"}}) desc nulls last\n    where: |-\n      {{c \"qty\"}} > 0\n    include: [{{y \"qty\"}}]",
			old: knows(street, qty), new: knows(street, qty)},
		{name: "`create_index`, unique", change: adds("text", `{create_index: {name: {{y "only"}}, columns: [{{y "extra"}}], unique: true}}`),
			old: knows(street, qty), new: knows(street, unique("extra"))},
		{name: "`drop_index`", setup: `create index {{c "by_qty"}} on {{table}} ({{c "qty"}})`, change: `contract: [{drop_index: {{y "by_qty"}}}]`,
			old: knows(street, qty), new: knows(street, qty)},
	}
}
