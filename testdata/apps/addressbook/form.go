package addressbook

import (
	"fmt"
	"strings"
)

// Form is how one revision keeps an address line in the table.
type Form struct {
	// Name is told in the header Address-Form of each answer.
	Name    string
	columns []string
	// split gives one value for each column, join the line from them.
	split func(line *string) []*string
	join  func(values []*string) *string
}

// Street is the old form: the line as it is.
func Street() Form {
	return Form{
		Name:    "street",
		columns: []string{"street"},
		split:   func(line *string) []*string { return []*string{line} },
		join:    func(values []*string) *string { return values[0] },
	}
}

// Split is the new form: name and number apart.
func Split() Form {
	return Form{
		Name:    "split",
		columns: []string{"street_name", "house_number"},
		split: func(line *string) []*string {
			name, number := SplitLine(line)
			return []*string{name, number}
		},
		join: func(values []*string) *string { return JoinLine(values[0], values[1]) },
	}
}

// The statements name every column that they touch: a star would change its
// meaning while the schema is expanded.

func (f Form) readySQL() string {
	return fmt.Sprintf("select %s from address limit 0", strings.Join(f.columns, ", "))
}

func (f Form) selectSQL() string {
	return fmt.Sprintf("select name, phone, %s from address where id = $1", strings.Join(f.columns, ", "))
}

func (f Form) insertSQL() string {
	places := make([]string, len(f.columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+3)
	}
	return fmt.Sprintf("insert into address (name, phone, %s) values ($1, $2, %s) returning id",
		strings.Join(f.columns, ", "), strings.Join(places, ", "))
}

func (f Form) updateSQL() string {
	var set strings.Builder
	for i, column := range f.columns {
		fmt.Fprintf(&set, ", %s = $%d", column, i+4)
	}
	return "update address set name = $2, phone = $3" + set.String() + " where id = $1"
}
