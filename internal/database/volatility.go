package database

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A mapping must give the same new form for the same old one at any time and
// for any session, or the relation between the forms would not hold. PostgreSQL
// marks functions immutable for that, but some that are needed (concat_ws,
// format) only stable, because for some types they depend on settings such as
// TimeZone. These are let through for the types for which they do not.

// steadyOnText tells whether a stable function of pg_catalog depends on no more
// than how its arguments are written as text.
func steadyOnText(name string) bool {
	switch name {
	case "concat", "concat_ws", "format", "quote_literal", "quote_nullable", "textanycat", "anytextcat":
		return true
	}
	return false
}

// typeField is, for the kinds of node whose value follows from their arguments
// and the functions they name, the field that has the type's OID; empty where
// the node has none.
func typeField(node string) (field string, known bool) {
	switch node {
	case "VAR":
		return "vartype", true
	case "CONST":
		return "consttype", true
	case "FUNCEXPR":
		return "funcresulttype", true
	case "OPEXPR", "DISTINCTEXPR", "NULLIFEXPR":
		return "opresulttype", true
	case "RELABELTYPE", "COERCEVIAIO", "ARRAYCOERCEEXPR", "FIELDSELECT", "COERCETODOMAIN":
		return "resulttype", true
	case "CASE", "CASEEXPR":
		return "casetype", true
	case "COALESCE", "COALESCEEXPR":
		return "coalescetype", true
	case "MINMAX", "MINMAXEXPR":
		return "minmaxtype", true
	case "ARRAY", "ARRAYEXPR":
		return "array_typeid", true
	case "CASETESTEXPR", "COERCETODOMAINVALUE":
		return "typeId", true
	case "SUBSCRIPTINGREF":
		return "refrestype", true
	case "COLLATE", "COLLATEEXPR", "WHEN", "CASEWHEN", "BOOLEXPR", "NULLTEST", "BOOLEANTEST", "SCALARARRAYOPEXPR", "LIST":
		return "", true
	}
	return "", false
}

// settled tells why an expression may give different values for the same row,
// or nothing if it cannot.
func (q *qualifier) settled(ctx context.Context, text string) (refusal string, err error) {
	tree, err := parseTree(text)
	if err != nil {
		return "", err
	}
	var unknown []string
	functions := map[uint32][]*treeNode{}
	written, read := map[uint32]bool{}, map[uint32]bool{}
	tree.walk(func(n *treeNode) {
		if _, known := typeField(n.name); !known {
			unknown = append(unknown, n.name)
		}
		for _, field := range []string{"funcid", "opfuncid", "hashfuncid", "negfuncid"} {
			if oid := n.number(field); oid != 0 {
				functions[oid] = append(functions[oid], n)
			}
		}
		if n.name == "COERCEVIAIO" {
			read[n.number("resulttype")] = true
			for _, arg := range n.children("arg") {
				written[typeOf(arg)] = true
			}
		}
	})
	if len(unknown) > 0 {
		return fmt.Sprintf("it holds %s, of which it is not known whether its value depends on the session", strings.Join(unknown, ", ")), nil
	}
	if refusal, err := q.functionsSettled(ctx, functions, written); err != nil || refusal != "" {
		return refusal, err
	}
	return q.typesSettled(ctx, written, read)
}

// typeOf is the OID of a node's type, 0 where it is not known.
func typeOf(n *treeNode) uint32 {
	switch n.name {
	case "BOOLEXPR", "NULLTEST", "BOOLEANTEST", "SCALARARRAYOPEXPR":
		return 16
	case "COLLATE", "COLLATEEXPR":
		for _, arg := range n.children("arg") {
			return typeOf(arg)
		}
	}
	field, _ := typeField(n.name)
	return n.number(field)
}

// functionsSettled looks at each function's volatility. For those that only
// write their arguments as text it adds the arguments' types to written.
func (q *qualifier) functionsSettled(ctx context.Context, functions map[uint32][]*treeNode, written map[uint32]bool) (string, error) {
	oids := make([]uint32, 0, len(functions))
	for oid := range functions {
		oids = append(oids, oid)
	}
	rows, err := q.tx.Query(ctx, `
		select p.oid, p.proname, p.provolatile::text, n.nspname
		from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		where p.oid = any($1) and p.provolatile <> 'i' order by p.proname`, oids)
	if err != nil {
		return "", fmt.Errorf("look up functions: %w", err)
	}
	var oid uint32
	var name, volatility, schema string
	var refusals []string
	_, err = pgx.ForEachRow(rows, []any{&oid, &name, &volatility, &schema}, func() error {
		if schema == "pg_catalog" && steadyOnText(name) {
			for _, call := range functions[oid] {
				for _, arg := range call.children("args") {
					written[typeOf(arg)] = true
				}
			}
			return nil
		}
		what := "is stable: it may depend on the session's settings, such as TimeZone or DateStyle"
		if volatility == "v" {
			what = "is volatile: it may give another value each time"
		}
		refusals = append(refusals, fmt.Sprintf("function %s %s", pgx.Identifier{schema, name}.Sanitize(), what))
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("look up functions: %w", err)
	}
	return strings.Join(refusals, "; "), nil
}

// typesSettled looks at types whose text depends on settings, though some of
// their functions are marked immutable (float8: extra_float_digits).
func (q *qualifier) typesSettled(ctx context.Context, written, read map[uint32]bool) (string, error) {
	list := func(set map[uint32]bool) []uint32 {
		oids := []uint32{}
		for oid := range set {
			oids = append(oids, oid)
		}
		return oids
	}
	rows, err := q.tx.Query(ctx, `
		select format_type(t.oid, null), t.oid = any($1) and (o.provolatile <> 'i' or t.oid in
		         ('float4'::regtype, 'float8'::regtype, 'bytea'::regtype, 'interval'::regtype, 'money'::regtype))
		from pg_type t join pg_proc o on o.oid = t.typoutput join pg_proc i on i.oid = t.typinput
		where t.typtype <> 'e' and (t.oid = any($2) and i.provolatile <> 'i'
		   or t.oid = any($1) and (o.provolatile <> 'i' or t.oid in
		         ('float4'::regtype, 'float8'::regtype, 'bytea'::regtype, 'interval'::regtype, 'money'::regtype)))
		order by 1`, list(written), list(read))
	if err != nil {
		return "", fmt.Errorf("look up types: %w", err)
	}
	var name string
	var out bool
	var refusals []string
	_, err = pgx.ForEachRow(rows, []any{&name, &out}, func() error {
		how := "reading text as"
		if out {
			how = "writing as text a value of"
		}
		refusals = append(refusals, fmt.Sprintf("%s type %s depends on the session's settings, such as TimeZone or DateStyle", how, name))
		return nil
	})
	if err == nil && (written[0] || read[0]) {
		refusals = append(refusals, "it turns a value whose type is not known here into text")
	}
	if err != nil {
		return "", fmt.Errorf("look up types: %w", err)
	}
	return strings.Join(refusals, "; "), nil
}
