package lint

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/gapless-deploy/gapless/internal/grammar"
)

// functionOf is the name of a function of PostgreSQL's own, as far as its name
// tells; empty for one of another schema.
func functionOf(call *pg.FuncCall) string {
	names := grammar.Names(call.GetFuncname())
	switch {
	case len(names) == 1:
		return names[0]
	case len(names) == 2 && names[0] == "pg_catalog":
		return names[1]
	}
	return ""
}

// isVolatile tells of functions that give another value each time.
func isVolatile(name string) bool {
	return slices.Contains([]string{
		"random", "random_normal", "setseed", "gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4",
		"gen_random_bytes", "gen_salt", "clock_timestamp", "timeofday", "nextval", "currval", "lastval", "pg_sleep",
	}, name)
}

// isSteady tells of functions that give one value within a statement, and do
// nothing beside that: as a default they are computed once for all rows.
func isSteady(name string) bool {
	return slices.Contains([]string{
		"now", "transaction_timestamp", "statement_timestamp", "current_setting", "timezone", "date_trunc", "date_part", "extract", "age",
		"make_date", "make_time", "make_timestamp", "make_timestamptz", "make_interval", "to_date", "to_timestamp", "to_char", "to_number",
		"lower", "upper", "initcap", "length", "char_length", "octet_length", "btrim", "ltrim", "rtrim", "concat", "concat_ws", "format",
		"substr", "substring", "left", "right", "replace", "regexp_replace", "regexp_match", "split_part", "lpad", "rpad", "repeat",
		"reverse", "translate", "position", "strpos", "md5", "sha256", "encode", "decode", "quote_ident", "quote_literal",
		"abs", "ceil", "ceiling", "floor", "round", "trunc", "mod", "power", "sqrt", "div", "greatest", "least", "sign",
		"jsonb_build_object", "jsonb_build_array", "json_build_object", "json_build_array", "to_json", "to_jsonb", "jsonb_set", "array_to_string",
		"string_to_array", "array_append", "array_length", "cardinality", "array_fill", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
		"to_tsvector", "to_tsquery", "current_schema", "current_database", "version", "pg_backend_pid", "txid_current",
	}, name)
}

// isPlain tells of other functions that only compute or look.
func isPlain(name string) bool {
	return slices.Contains([]string{
		"count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every", "string_agg", "array_agg", "json_agg", "jsonb_agg", "json_object_agg",
		"jsonb_object_agg", "row_number", "rank", "dense_rank", "lag", "lead", "first_value", "last_value", "ntile", "generate_series",
		"unnest", "regexp_matches", "regexp_split_to_table", "json_array_elements", "jsonb_array_elements", "json_each", "jsonb_each",
		"to_regclass", "to_regtype", "to_regproc", "pg_get_constraintdef", "pg_get_indexdef", "pg_get_viewdef", "pg_get_functiondef",
		"has_table_privilege", "has_column_privilege", "has_schema_privilege", "pg_table_size", "pg_total_relation_size", "pg_relation_size",
		"obj_description", "col_description", "format_type", "pg_get_serial_sequence", "exists",
	}, name)
}
