// The address book as it shall be: it reads and writes the columns street_name
// and house_number. The environment can make it bad; see addressbook.Faults.
package main

import (
	"fmt"
	"os"

	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "address-book:", err)
		os.Exit(1)
	}
}

func run() error {
	faults, err := addressbook.FaultsFromEnv(os.Getenv)
	if err != nil {
		return err
	}
	return addressbook.Run(addressbook.Split(), faults)
}
