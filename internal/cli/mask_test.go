package cli

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestNoFormOfASecretIsWritten tries every way in which a password may turn up
// in an error of a driver.
func TestNoFormOfASecretIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[ -~]{8,24}`).Draw(t, "secret")
		dsn := (&url.URL{Scheme: "postgres", User: url.UserPassword("app", secret), Host: "db:5432", Path: "/shop"}).String()
		var m mask
		m.hideURL(dsn)
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), dsn} {
			got := m.apply("cannot connect with " + form + " now")
			if strings.Contains(got, form) {
				t.Fatalf("%q is written: %s", form, got)
			}
			// as an error quotes it, and as the result of a phase holds that
			raw, err := json.Marshal(fmt.Sprintf("last words: %q, %s", form, form))
			if err != nil {
				t.Fatal(err)
			}
			var told string
			if err := json.Unmarshal([]byte(m.apply(string(raw))), &told); err != nil || told != `last words: "***", ***` {
				t.Fatalf("%q is written: %s, %v", form, told, err)
			}
		}
	})
}

func TestMaskOfAKeywordDSN(t *testing.T) {
	var m mask
	m.hideURL("host=db user=app password='correct-horse' dbname=shop")
	if got := m.apply("auth failed for correct-horse"); got != "auth failed for ***" {
		t.Fatal(got)
	}
}

// TestShortTextsStay: masking "app" would make the output unreadable.
func TestShortTextsStay(t *testing.T) {
	var m mask
	m.hideURL("postgres://app:app@db/shop-of-many-things")
	if got := m.apply("app appears"); got != "app appears" {
		t.Fatal(got)
	}
}
