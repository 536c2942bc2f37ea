package addressbook

import "regexp"

// houseNumber is the rule of the change 0007-split-street, which this revision
// was released with: one space, digits, at most one letter, and the line ends.
var houseNumber = regexp.MustCompile(` ([0-9]+[\s\v]*\pL?)$`)

// SplitLine takes an address line apart. A line without a house number has the
// number nil; of no line both are nil. JoinLine undoes it for every line.
func SplitLine(line *string) (name, number *string) {
	if line == nil {
		return nil, nil
	}
	at := houseNumber.FindStringSubmatchIndex(*line)
	if at == nil {
		return line, nil
	}
	street, house := (*line)[:at[0]], (*line)[at[2]:at[3]]
	return &street, &house
}

// JoinLine puts an address line together again.
func JoinLine(name, number *string) *string {
	switch {
	case name == nil:
		return number
	case number == nil:
		return name
	}
	line := *name + " " + *number
	return &line
}
