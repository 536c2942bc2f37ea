// The address book as it was: it reads and writes the column street.
package main

import (
	"fmt"
	"os"

	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

func main() {
	if err := addressbook.Run(addressbook.Street(), addressbook.Faults{}); err != nil {
		fmt.Fprintln(os.Stderr, "address-book:", err)
		os.Exit(1)
	}
}
