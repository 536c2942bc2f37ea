package lint

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// made are the objects that the text has made so far: what is done to them
// disturbs nobody. An object made IF NOT EXISTS counts, too.
type made struct {
	objects map[string]bool
	// proves has, for each CHECK that the text has added and that says no more
	// than that a column is not NULL, that column.
	proves map[string]string
}

func newMade() made { return made{objects: map[string]bool{}, proves: map[string]string{}} }

const (
	relation   = "relation"
	routine    = "routine"
	column     = "column"
	constraint = "constraint"
	validated  = "validated constraint"
	proven     = "proven not null"
	trigger    = "trigger"
	anyType    = "type"
	schema     = "schema"
)

// keyOf names an object of a kind. The schema public counts as none, since that
// is where an unqualified name usually is.
func keyOf(kind string, names ...string) string {
	if len(names) > 1 && (names[0] == "public" || names[0] == "") {
		names = names[1:]
	}
	return kind + "\x00" + strings.Join(names, "\x00")
}

func (m made) add(kind string, names ...string) { m.objects[keyOf(kind, names...)] = true }

func (m made) has(kind string, names ...string) bool {
	return m.objects[keyOf(kind, names...)] || len(names) > 1 && names[0] != "" && m.objects[keyOf(schema, names[0])]
}

func (m made) relation(v *pg.RangeVar) bool {
	return m.has(relation, v.GetSchemaname(), v.GetRelname())
}

func (m made) addRelation(v *pg.RangeVar) {
	if v != nil {
		m.add(relation, v.GetSchemaname(), v.GetRelname())
	}
}

// addPart notes a column, a constraint or a trigger of a table.
func (m made) addPart(kind string, of *pg.RangeVar, name string) {
	m.add(kind, of.GetSchemaname(), of.GetRelname(), name)
}

func (m made) part(kind string, of *pg.RangeVar, name string) bool {
	return m.has(kind, of.GetSchemaname(), of.GetRelname(), name)
}

// nameOf is a table's name for people.
func nameOf(v *pg.RangeVar) string {
	if v.GetSchemaname() != "" {
		return v.GetSchemaname() + "." + v.GetRelname()
	}
	return v.GetRelname()
}

// validate notes that a constraint of a table holds for all its rows. Of one
// that an earlier file has added it is not known what it says: it is taken for
// the one that is needed.
func (m made) validate(of *pg.RangeVar, name string) {
	m.addPart(validated, of, "")
	if !m.part(constraint, of, name) {
		m.addPart(proven, of, "")
		return
	}
	if column := m.proves[keyOf(constraint, of.GetSchemaname(), of.GetRelname(), name)]; column != "" {
		m.addPart(proven, of, column)
	}
}

func (m made) notNull(of *pg.RangeVar, column string) bool {
	return m.part(proven, of, column) || m.part(proven, of, "")
}

// prove notes what a CHECK says; column is empty where it is something else.
func (m made) prove(of *pg.RangeVar, name, column string) {
	if name != "" && column != "" {
		m.proves[keyOf(constraint, of.GetSchemaname(), of.GetRelname(), name)] = column
	}
}
