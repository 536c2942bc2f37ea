package grammar

import (
	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Walk calls visit for each node of a tree, outermost first, in no order beside
// that; below a node for which it gives false it does not go. The wrapper
// pg.Node is not a node.
func Walk(tree proto.Message, visit func(proto.Message) bool) {
	if tree != nil {
		walk(tree.ProtoReflect(), visit)
	}
}

func walk(m protoreflect.Message, visit func(proto.Message) bool) {
	if !m.IsValid() {
		return
	}
	node := m.Interface()
	if _, wrapper := node.(*pg.Node); !wrapper && !visit(node) {
		return
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				walk(value.List().Get(i).Message(), visit)
			}
		default:
			walk(value.Message(), visit)
		}
		return true
	})
}

// Names are the texts of a list of names, such as a qualified one.
func Names(list []*pg.Node) []string {
	names := make([]string, 0, len(list))
	for _, n := range list {
		names = append(names, n.GetString_().GetSval())
	}
	return names
}
