package cli

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// masked stands where a secret was.
const masked = "***"

// shortestSecret is the least length that is masked: shorter texts occur
// everywhere, and the output would become unreadable without hiding anything.
const shortestSecret = 8

// mask replaces secrets in what is written.
type mask struct {
	mu      sync.Mutex
	secrets []string
}

// hide adds a secret, in each form in which a URL, JSON or a quotation can carry
// it.
func (m *mask) hide(secret string) {
	if len(secret) < shortestSecret {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("", secret).String()[1:]} {
		quoted := inner(strconv.Quote(form))
		for _, form := range []string{form, quoted, inJSON(form), inJSON(quoted)} {
			if !slices.Contains(m.secrets, form) {
				m.secrets = append(m.secrets, form)
			}
		}
	}
	// The longest first: one secret may be part of another.
	slices.SortFunc(m.secrets, func(a, b string) int { return len(b) - len(a) })
}

// inner is a quoted text without its quotation marks.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// inJSON is a text as it stands within a string of JSON.
func inJSON(text string) string {
	data, err := json.Marshal(text)
	if err != nil { // which a string does not give
		return text
	}
	return inner(string(data))
}

// hideURL adds a database's URL and the password in it.
func (m *mask) hideURL(dsn string) {
	m.hide(dsn)
	if u, err := url.Parse(dsn); err == nil {
		if password, ok := u.User.Password(); ok {
			m.hide(password)
		}
		m.hide(u.Query().Get("password"))
	}
	for field := range strings.FieldsSeq(dsn) {
		if password, ok := strings.CutPrefix(field, "password="); ok {
			m.hide(strings.Trim(password, "'"))
		}
	}
}

// all gives what is hidden so far.
func (m *mask) all() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.secrets)
}

// apply replaces all that is hidden.
func (m *mask) apply(text string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.secrets {
		text = strings.ReplaceAll(text, s, masked)
	}
	return text
}
