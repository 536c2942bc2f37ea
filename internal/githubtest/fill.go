package githubtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// object is a JSON object.
type object = map[string]any

// completed returns what an answer says, decoded as JSON decodes, with the
// properties that the description requires and the fake does not model: each
// has the emptiest value that is allowed.
func completed(schema *openapi3.Schema, said any, now time.Time) (any, error) {
	encoded, err := json.Marshal(said)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	var value any
	if err := json.Unmarshal(encoded, &value); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	return filler{now}.complete(schema, value), nil
}

type filler struct{ now time.Time }

func (f filler) complete(schema *openapi3.Schema, value any) any {
	switch value := value.(type) {
	case []any:
		if schema.Items != nil {
			for i := range value {
				value[i] = f.complete(schema.Items.Value, value[i])
			}
		}
		return value
	case map[string]any:
		return f.completeObject(schema, value)
	}
	return value
}

func (f filler) completeObject(schema *openapi3.Schema, value map[string]any) any {
	for _, part := range schema.AllOf {
		f.completeObject(part.Value, value)
	}
	for name, property := range schema.Properties {
		if given, ok := value[name]; ok {
			value[name] = f.complete(property.Value, given)
		}
	}
	for _, name := range schema.Required {
		if _, ok := value[name]; ok {
			continue
		}
		if property := schema.Properties[name]; property != nil {
			value[name] = f.emptiest(property.Value)
		}
	}
	for _, variant := range slices.Concat(schema.AnyOf, schema.OneOf) {
		if !chosen(schema.Discriminator, variant, value) {
			continue
		}
		attempt, ok := f.complete(variant.Value, clone(value)).(map[string]any)
		if ok && variant.Value.VisitJSON(attempt) == nil {
			return attempt
		}
	}
	return value
}

// chosen says whether a variant may be the one of value, which names it where
// there is a discriminator.
func chosen(by *openapi3.Discriminator, variant *openapi3.SchemaRef, value map[string]any) bool {
	if by == nil {
		return true
	}
	name, _ := value[by.PropertyName].(string)
	return by.Mapping[name].Ref == variant.Ref
}

// emptiest returns the emptiest value that a schema allows.
func (f filler) emptiest(schema *openapi3.Schema) any {
	switch {
	case schema.Nullable:
		return nil
	case schema.Default != nil:
		return schema.Default
	case len(schema.Enum) > 0:
		return schema.Enum[0]
	case len(schema.AllOf) > 0:
		return f.completeObject(schema, object{})
	case len(schema.AnyOf) > 0:
		return f.emptiest(schema.AnyOf[0].Value)
	case len(schema.OneOf) > 0:
		return f.emptiest(schema.OneOf[0].Value)
	case schema.Type.Is("array"):
		return []any{}
	case schema.Type.Is("boolean"):
		return false
	case schema.Type.Is("integer"), schema.Type.Is("number"):
		if schema.Min != nil {
			return *schema.Min
		}
		return 0.0
	case schema.Type.Is("string") && schema.Format == "date-time":
		return f.now.Format(time.RFC3339)
	case schema.Type.Is("string"):
		return ""
	}
	return f.completeObject(schema, object{})
}

// clone copies objects in depth, since a variant that does not fit must leave
// no trace.
func clone(value any) any {
	switch value := value.(type) {
	case map[string]any:
		copied := make(map[string]any, len(value))
		for key, inner := range value {
			copied[key] = clone(inner)
		}
		return copied
	case []any:
		copied := make([]any, len(value))
		for i, inner := range value {
			copied[i] = clone(inner)
		}
		return copied
	}
	return value
}
