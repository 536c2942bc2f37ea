package load

import "strconv"

// streets are what the lines are made of.
func streets() [7]string {
	return [...]string{"Main Street", "Elm Street", "Rue de l'Église", "Straße des 17. Juni",
		"Большая улица", "神保町", "O\\Connell \"Row\""}
}

// Line gives the n-th address line, nil for a row that has none. It goes
// through every odd shape: both the first rows and what writers write are made
// of it.
func Line(n int) *string {
	all := streets()
	street, number := all[n%len(all)], strconv.Itoa(1+n/16%500)
	var line string
	switch n % 16 {
	case 0:
		return nil
	case 1:
		line = ""
	case 2:
		line = number
	case 3:
		line = street
	case 4:
		line = street + "  " + number
	case 5:
		line = street + " " + number + "  "
	case 6:
		line = street + "\t" + number
	case 7:
		line = "Route" + number
	case 8:
		line = street + " " + number + "-" + number + "2"
	case 9:
		line = street + " A" + number
	case 10:
		line = street + " " + number + "b"
	case 11:
		line = street + " " + number + " é"
	case 12:
		line = " " + number
	case 13:
		line = street + " " + number + " " + number
	default:
		line = street + " " + number
	}
	return &line
}
