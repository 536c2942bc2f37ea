package document

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

func (r *reader) duration(n *node, into reflect.Value) {
	if n.kind == list || n.kind == mapping {
		r.expected(n, "a duration", durationExample)
		return
	}
	d, err := ParseDuration(n.text)
	if err != nil {
		r.refuse(n.path, prefix(n.path)+err.Error(), durationExample)
		return
	}
	into.SetInt(int64(d))
}

// ownText hands a scalar to a type that reads its own text. An error of type
// Fault carries its own suggestion.
func (r *reader) ownText(n *node, into encoding.TextUnmarshaler) {
	err := into.UnmarshalText([]byte(n.text))
	if err == nil {
		return
	}
	if fault, ok := errors.AsType[Fault](err); ok {
		r.refuse(n.path, prefix(n.path)+fault.Message, fault.Suggestion)
		return
	}
	r.refuse(n.path, prefix(n.path)+err.Error(), "")
}

// ownNumber hands a number to a type that reads numbers of its own kind.
func (r *reader) ownNumber(n *node, into json.Unmarshaler) {
	if err := into.UnmarshalJSON([]byte(n.text)); err != nil {
		r.refuse(n.path, prefix(n.path)+err.Error(), "")
	}
}

func (r *reader) choice(n *node, allowed []string, into reflect.Value) {
	if n.kind == list || n.kind == mapping || !slices.Contains(allowed, n.text) {
		r.expected(n, "one of "+strings.Join(allowed, ", "), DidYouMean(n.text, allowed))
		return
	}
	into.SetString(n.text)
}

func (r *reader) scalar(n *node, into reflect.Value) {
	switch into.Kind() {
	case reflect.String:
		if n.kind != text {
			r.expected(n, "text", asText(n))
			return
		}
		into.SetString(n.text)
	case reflect.Bool:
		if n.kind != boolean {
			r.expected(n, "true or false", asBoolean(n))
			return
		}
		into.SetBool(strings.EqualFold(n.text, "true"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := wholeNumber(n)
		if err != nil || into.OverflowInt(i) {
			r.expected(n, describe(into.Type()), asNumber(n))
			return
		}
		into.SetInt(i)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(n.text, 64)
		if (n.kind != number && n.kind != whole) || err != nil || into.OverflowFloat(f) || f-f != 0 {
			r.expected(n, "a number", asNumber(n))
			return
		}
		into.SetFloat(f)
	case reflect.Interface:
		r.any(n, into)
	default:
		r.refuse(n.path, fmt.Sprintf("%scannot be read into %s", prefix(n.path), into.Type()), "")
	}
}

// any fills an interface with nil, string, bool, int64, float64, []any or
// map[string]any.
func (r *reader) any(n *node, into reflect.Value) {
	var value reflect.Value
	switch n.kind {
	case nothing:
		return
	case text:
		value = reflect.New(reflect.TypeFor[string]())
	case boolean:
		value = reflect.New(reflect.TypeFor[bool]())
	case whole:
		value = reflect.New(reflect.TypeFor[int64]())
	case number:
		value = reflect.New(reflect.TypeFor[float64]())
	case list:
		value = reflect.New(reflect.TypeFor[[]any]())
	default:
		value = reflect.New(reflect.TypeFor[map[string]any]())
	}
	r.value(n, value.Elem())
	into.Set(value.Elem())
}

// wholeNumber reads decimal digits only: 010 and 0x10 mean different numbers to
// different readers.
func wholeNumber(n *node) (int64, error) {
	if n.kind != whole {
		return 0, strconv.ErrSyntax
	}
	digits := strings.TrimPrefix(n.text, "-")
	if len(digits) > 1 && digits[0] == '0' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(n.text, 10, 64)
}

func asText(n *node) string {
	if n.kind == list || n.kind == mapping {
		return ""
	}
	return "write " + quoted(n.text)
}

func asBoolean(n *node) string {
	switch strings.ToLower(n.text) {
	case "yes", "on", "y", "1":
		return "write true"
	case "no", "off", "n", "0":
		return "write false"
	default:
		return ""
	}
}

func asNumber(n *node) string {
	const longest = 18 // the parser takes what does not fit 64 bits for text
	if _, err := strconv.ParseFloat(n.text, 64); n.kind == text && err == nil && len(n.text) <= longest {
		return "write it without quotes"
	}
	return ""
}
