package database

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A mapping must give the same new form for the same old one at any time and
// for any session, or the relation between the forms would not hold. PostgreSQL
// marks functions immutable for that, but some that are needed (concat_ws,
// format) only stable, because for some types they depend on settings such as
// TimeZone. These are let through for the types for which they do not.

// steadyOnText are stable functions that depend on no more than how their
// arguments are written as text.
var steadyOnText = []string{"concat", "concat_ws", "format", "quote_literal", "quote_nullable", "textanycat", "anytextcat"}

// known are the kinds of node whose value follows from their arguments and the
// functions they name, each with the field that has its type's OID.
var known = map[string]string{
	"VAR": "vartype", "CONST": "consttype", "FUNCEXPR": "funcresulttype", "OPEXPR": "opresulttype",
	"DISTINCTEXPR": "opresulttype", "NULLIFEXPR": "opresulttype", "RELABELTYPE": "resulttype",
	"COERCEVIAIO": "resulttype", "ARRAYCOERCEEXPR": "resulttype", "CASE": "casetype", "CASEEXPR": "casetype",
	"COALESCE": "coalescetype", "COALESCEEXPR": "coalescetype", "MINMAX": "minmaxtype", "MINMAXEXPR": "minmaxtype",
	"ARRAY": "array_typeid", "ARRAYEXPR": "array_typeid", "CASETESTEXPR": "typeId",
	"SUBSCRIPTINGREF": "refrestype", "FIELDSELECT": "resulttype", "COERCETODOMAIN": "resulttype",
	"COLLATE": "", "COLLATEEXPR": "", "WHEN": "", "CASEWHEN": "", "BOOLEXPR": "", "NULLTEST": "", "BOOLEANTEST": "",
	"SCALARARRAYOPEXPR": "", "LIST": "", "COERCETODOMAINVALUE": "typeId",
}

// functionFields are where nodes name functions.
var functionFields = []string{"funcid", "opfuncid", "hashfuncid", "negfuncid"}

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
		if _, ok := known[n.name]; !ok {
			unknown = append(unknown, n.name)
		}
		for _, field := range functionFields {
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
	return n.number(known[n.name])
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
		if schema == "pg_catalog" && slices.Contains(steadyOnText, name) {
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
