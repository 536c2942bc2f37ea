package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/document"
)

// Path is the path of a GET request to an instance, with its query. It may hold
// ranges: /addresses/{1..50} stands for fifty requests.
type Path string

// maxExpanded bounds the requests that one path may stand for.
const maxExpanded = 10_000

var pathRange = regexp.MustCompile(`\{(\d{1,9})\.\.(\d{1,9})\}`)

// UnmarshalText reads a path and refuses what could not be sent to an instance.
func (p *Path) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.HasPrefix(s, "/") {
		return document.Fault{
			Message:    fmt.Sprintf("expected a path that starts with /, observed %q", s),
			Suggestion: "give the path alone, such as /healthz",
		}
	}
	if at := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == '\\' }); at >= 0 {
		return fmt.Errorf("expected a path, observed %q in it", s[at:at+1])
	}
	count := 1
	for _, m := range pathRange.FindAllStringSubmatch(s, -1) {
		from, to := bounds(m)
		if from > to {
			return fmt.Errorf("range %s runs backwards", m[0])
		}
		if count *= to - from + 1; count > maxExpanded {
			return fmt.Errorf("%q stands for more than %d requests", s, maxExpanded)
		}
	}
	one := pathRange.ReplaceAllString(s, "1")
	if strings.ContainsAny(one, "{}") {
		return document.Fault{
			Message:    fmt.Sprintf("range in %q is not understood", s),
			Suggestion: "write it like {1..50}",
		}
	}
	_, err := url.ParseRequestURI(one)
	if inURL, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("expected a path, observed %q: %w", s, inURL.Err)
	}
	*p = Path(s)
	return nil
}

// Expand gives every path that p stands for, in order.
func (p Path) Expand() []string {
	at := pathRange.FindStringSubmatchIndex(string(p))
	if at == nil {
		return []string{string(p)}
	}
	from, to := bounds(pathRange.FindStringSubmatch(string(p)))
	var paths []string
	for i := from; i <= to; i++ {
		for _, rest := range p[at[1]:].Expand() {
			paths = append(paths, string(p[:at[0]])+strconv.Itoa(i)+rest)
		}
	}
	return paths
}

// bounds reads a match of pathRange, whose digits always fit.
func bounds(match []string) (from, to int) {
	number := func(digits string) (n int) {
		for _, d := range digits {
			n = 10*n + int(d-'0')
		}
		return n
	}
	return number(match[1]), number(match[2])
}

// Smoke is a request with the answer it must get.
type Smoke struct {
	// The path to GET; ranges such as {1..5} stand for one request each.
	Get Path `yaml:"get,required"`
	// The status the answer must have. Default 200.
	Status int `yaml:"status" jsonschema:"minimum=100,maximum=599"`
	// A text the answer's body must contain.
	Contains string `yaml:"contains"`
}

// Default fills in what a file may leave out.
func (s *Smoke) Default() { s.Status = 200 }

// Warmup is a request whose answer does not matter.
type Warmup struct {
	// The path to GET; ranges such as {1..50} stand for one request each.
	Get Path `yaml:"get,required"`
}

// Probe is a client that asks the service from outside.
type Probe struct {
	// The public URL to GET.
	URL string `yaml:"url,required" jsonschema:"pattern=^https?://"`
	// How often, from 10ms to 1m. Default 200ms.
	Every time.Duration `yaml:"every"`
}

// Default fills in what a file may leave out.
func (p *Probe) Default() { p.Every = 200 * time.Millisecond }
