package cli

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gapless-deploy/gapless/internal/ledger"
)

// sticks has ten clients ask ten times each, and prints which revision each of
// them met; it fails if a client met two.
func sticks(ts *testscript.TestScript, _ bool, _ []string) {
	var met []string
	for range 10 {
		jar, err := cookiejar.New(nil)
		ts.Check(err)
		client := &http.Client{Jar: jar}
		first := revisionOf(ts, client)
		for range 9 {
			if next := revisionOf(ts, client); next != first {
				ts.Fatalf("a client met %s, then %s", first, next)
			}
		}
		met = append(met, first)
	}
	_, err := ts.Stdout().Write([]byte(strings.Join(met, " ") + "\n"))
	ts.Check(err)
}

func revisionOf(ts *testscript.TestScript, client *http.Client) string {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+ts.Getenv("PUBLIC")+"/", nil)
	ts.Check(err)
	response, err := client.Do(request)
	ts.Check(err)
	ts.Check(response.Body.Close())
	return response.Header.Get(ledger.HeaderRevision)
}
