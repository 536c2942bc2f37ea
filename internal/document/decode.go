package document

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Defaulter is a struct that fills in its own defaults. Decode calls Default
// before it reads the struct's keys, so that a value in the file, be it zero,
// stands.
type Defaulter interface{ Default() }

// Chooser is a text type with a fixed list of values. Decode refuses any other.
type Chooser interface{ Values() []string }

// Decode fills into, a pointer to a struct, from the document. A field takes the
// key in its yaml tag; `yaml:"name,required"` makes the key's absence a fault,
// `yaml:"-"` leaves the field alone.
//
// Fields may be structs, pointers, slices, maps with text keys, text, whole
// numbers, numbers, booleans, time.Duration (see ParseDuration), any, a Chooser,
// and types that implement encoding.TextUnmarshaler, which get a scalar as it is
// written. A struct that also implements it may be written either way. Types
// that implement json.Unmarshaler get numbers, as they are written.
//
// The error is Faults: everything that is wrong, not the first of it. What was
// right has been filled in all the same.
func (d *Document) Decode(into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("decode %s: expected a pointer to a struct, observed %T", d.file, into)
	}
	r := reader{doc: d, faults: slices.Clone(d.odd)}
	r.value(d.root, target.Elem())
	return r.faults.Err()
}

type reader struct {
	doc    *Document
	faults Faults
}

func (r *reader) refuse(path, message, suggestion string) {
	r.faults = append(r.faults, r.doc.Fault(path, message, suggestion))
}

func (r *reader) expected(n *node, what, suggestion string) {
	r.refuse(n.path, fmt.Sprintf("%sexpected %s, observed %s", prefix(n.path), what, n), suggestion)
}

func prefix(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

func (r *reader) value(n *node, into reflect.Value) {
	switch {
	case n.kind == refused:
	case n.kind == nothing && into.Kind() != reflect.Interface:
		r.expected(n, describe(into.Type()), "give a value or delete the key")
	case into.Kind() == reflect.Pointer:
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		r.value(n, into.Elem())
	case isDuration(into.Type()):
		r.duration(n, into)
	case !r.own(n, into):
		r.byKind(n, into)
	}
}

// own reads types that read themselves, and reports whether this is one.
func (r *reader) own(n *node, into reflect.Value) bool {
	if own, ok := reflect.TypeAssert[encoding.TextUnmarshaler](into.Addr()); ok {
		if n.kind == list || n.kind == mapping {
			r.expected(n, "a single value", "")
		} else {
			r.ownText(n, own)
		}
		return true
	}
	if n.kind == whole || n.kind == number {
		if own, ok := reflect.TypeAssert[json.Unmarshaler](into.Addr()); ok {
			r.ownNumber(n, own)
			return true
		}
	}
	if chooser, ok := reflect.TypeAssert[Chooser](into); ok {
		r.choice(n, chooser.Values(), into)
		return true
	}
	return false
}

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

func (r *reader) byKind(n *node, into reflect.Value) {
	switch into.Kind() {
	case reflect.Struct:
		r.structure(n, into)
	case reflect.Map:
		r.table(n, into)
	case reflect.Slice:
		r.slice(n, into)
	default:
		r.scalar(n, into)
	}
}

func (r *reader) structure(n *node, into reflect.Value) {
	if n.kind != mapping {
		r.expected(n, describe(into.Type()), "")
		return
	}
	if d, ok := reflect.TypeAssert[Defaulter](into.Addr()); ok {
		d.Default()
	}
	fields := fieldsOf(into.Type())
	given := map[string]bool{}
	for _, e := range n.entries {
		given[e.key] = true
		f, ok := fields.named(e.key)
		if !ok {
			r.unknown(n, e.key, fields.names())
			continue
		}
		r.value(e.value, into.FieldByIndex(f.index))
	}
	for _, f := range fields {
		if f.required && !given[f.name] {
			r.refuse(n.path, fmt.Sprintf("missing key %q%s", f.name, within(n.path)), "")
		}
	}
}

func (r *reader) unknown(n *node, key string, allowed []string) {
	suggestion := DidYouMean(key, allowed)
	if suggestion == "" && len(allowed) > 0 {
		suggestion = "known here: " + strings.Join(allowed, ", ")
	}
	fault := r.doc.at(r.doc.find(keyPath(join(n.path, key))), join(n.path, key),
		fmt.Sprintf("unknown key %s%s", quoted(key), within(n.path)), suggestion)
	r.faults = append(r.faults, fault)
}

func (r *reader) table(n *node, into reflect.Value) {
	if n.kind != mapping {
		r.expected(n, describe(into.Type()), "")
		return
	}
	table := reflect.MakeMapWithSize(into.Type(), len(n.entries))
	for _, e := range n.entries {
		value := reflect.New(into.Type().Elem()).Elem()
		r.value(e.value, value)
		table.SetMapIndex(reflect.ValueOf(e.key).Convert(into.Type().Key()), value)
	}
	into.Set(table)
}

func (r *reader) slice(n *node, into reflect.Value) {
	if n.kind != list {
		r.expected(n, describe(into.Type()), "write it as [...]")
		return
	}
	items := reflect.MakeSlice(into.Type(), len(n.items), len(n.items))
	for i, item := range n.items {
		r.value(item, items.Index(i))
	}
	into.Set(items)
}

// describe names what a type takes, for a message.
func describe(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isDuration(t) {
		return "a duration"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) && t.Kind() != reflect.Struct {
		return "a number"
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "a mapping"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "text"
	}
}

type field struct {
	name     string
	index    []int
	required bool
}

type fields []field

func fieldsOf(t reflect.Type) fields {
	var fs fields
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "" || name == "-" {
			continue
		}
		fs = append(fs, field{name: name, index: f.Index, required: strings.Contains(options, "required")})
	}
	return fs
}

func (fs fields) named(name string) (field, bool) {
	for _, f := range fs {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

func (fs fields) names() []string {
	names := make([]string, len(fs))
	for i, f := range fs {
		names[i] = f.name
	}
	return names
}
