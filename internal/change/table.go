package change

import (
	"errors"
	"fmt"
	"strings"
)

// Table is a table's exact name. Schema is empty where the search path finds it.
type Table struct{ Schema, Name string }

// ParseTable reads table or schema.table. Upper and lower case are kept; a part
// with a dot in it is written in double quotes, as in SQL.
func ParseTable(text string) (Table, error) {
	var parts []string
	for rest := text; ; {
		part, after, err := namePart(rest)
		if err != nil {
			return Table{}, fmt.Errorf("name %q: %w", text, err)
		}
		parts = append(parts, part)
		if after == "" {
			break
		}
		rest = after[1:]
	}
	switch len(parts) {
	case 1:
		return Table{Name: parts[0]}, nil
	case 2:
		return Table{Schema: parts[0], Name: parts[1]}, nil
	}
	return Table{}, fmt.Errorf("name %q: expected 1 or 2 parts, observed %d", text, len(parts))
}

// namePart takes the first part of a dotted name; after is empty or begins with
// the dot.
func namePart(text string) (part, after string, err error) {
	if !strings.HasPrefix(text, `"`) {
		part, after = text, ""
		if dot := strings.IndexByte(text, '.'); dot >= 0 {
			part, after = text[:dot], text[dot:]
		}
		if strings.Contains(part, `"`) {
			return "", "", errors.New("a quote inside a name")
		}
	} else {
		var b strings.Builder
		i := 1
		for ; i < len(text); i++ {
			if text[i] == '"' {
				if i+1 >= len(text) || text[i+1] != '"' {
					break
				}
				i++
			}
			b.WriteByte(text[i])
		}
		if i >= len(text) {
			return "", "", errors.New("the quote is not closed")
		}
		part, after = b.String(), text[i+1:]
		if after != "" && after[0] != '.' {
			return "", "", errors.New("text after the closing quote")
		}
	}
	if part == "" || len(part) > maxName || strings.ContainsRune(part, 0) {
		return "", "", fmt.Errorf("each part must have 1 to %d bytes", maxName)
	}
	return part, after, nil
}
