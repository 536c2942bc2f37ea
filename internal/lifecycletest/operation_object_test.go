package lifecycletest

// Operations on tables as a whole and on what stands beside them.

const streets = `create view {{beside "streets"}} as select {{c "street"}} from {{table}}`

func objectOperations() []operation {
	looks := func(columns ...string) revision {
		r := knows(street, qty)
		for _, name := range columns {
			r.also = append(r.also, `select {{c "`+name+`"}} from {{beside "streets"}} limit 1`)
		}
		return r
	}
	feeling := func(values ...string) column { return column{name: "feeling", values: oneOf(values...)} }
	return []operation{
		{name: "`create_table`", creates: true, table: `{{yb "fresh"}}`,
			change: `expand: [{create_table: {columns: [{name: {{y "id"}}, type: bigint, identity: always}, {name: {{y "what"}}, type: text, default: "'x'", not_null: true}, {name: {{y "of"}}, type: integer}], primary_key: [{{y "id"}}], checks: [{name: {{y "some"}}, expression: '{{c "of"}} > 0'}]}}]`,
			old:    knows(street, qty),
			new:    revision{columns: []column{street, qty}, also: []string{`insert into {{beside "fresh"}} ({{c "of"}}) values (1)`, `select {{c "what"}} from {{beside "fresh"}} limit 1`}}},
		{name: "`rename_table`", sinceOn: map[string]int{rls: 15}, change: `expand: [{rename_table: {to: {{y "renamed"}}}}]`,
			old: knows(street, qty), new: revision{table: `{{beside "renamed"}}`, columns: []column{street, qty}}},
		{name: "`drop_table`", change: `contract: [{drop_table: true}]`, old: knows(street, qty)},
		{name: "`create_view`", creates: true, change: "expand:\n- create_view:\n    name: {{yb \"streets\"}}\n    query: |-\n      select {{c \"street\"}} from {{table}}",
			old: knows(street, qty), new: looks("street")},
		{name: "`replace_view`", setup: streets, change: "expand:\n- replace_view:\n    name: {{yb \"streets\"}}\n    query: |-\n      select {{c \"street\"}}, {{c \"qty\"}} from {{table}}",
			old: looks("street"), new: looks("street", "qty")},
		{name: "`drop_view`", setup: streets, change: `contract: [{drop_view: {{yb "streets"}}}]`, old: looks("street"), new: knows(street, qty)},
		{name: "`add_enum_value`", setup: `create type {{beside "mood_of"}} as enum ('good', 'bad'); alter table {{table}} add {{c "feeling"}} {{beside "mood_of"}}`,
			change: `expand: [{add_enum_value: {type: {{yb "mood_of"}}, value: so so, after: good}}]`, lasting: "type ",
			old: knows(street, feeling("good", "bad", null)), new: knows(street, feeling("good", "bad", "so so", null))},
		{name: "`drop_function`", setup: `create function {{beside "twice"}}(integer) returns integer language sql as $$ select $1 * 2 $$`,
			change: `contract: [{drop_function: {{yb "twice" "(integer)"}}}]`,
			old:    revision{columns: []column{street, qty}, also: []string{`select {{beside "twice"}}(4)`}}, new: knows(street, qty)},
		{name: "`drop_sequence`", setup: `create sequence {{beside "counter"}}`, change: `contract: [{drop_sequence: {{yb "counter"}}}]`,
			old: knows(street, qty), new: knows(street, qty)},
		{name: "`sql`", change: "expand:\n- sql:\n    run: |-\n      alter table {{table}} add column {{c \"extra\"}} text\n    undo: |-\n      alter table {{table}} drop column {{c \"extra\"}}\ncontract:\n- sql:\n    run: |-\n      comment on table {{table}} is 'contracted'", final: func(kind, int) bool { return true },
			old: knows(street, qty), new: knows(street, named("extra", first))},
	}
}
