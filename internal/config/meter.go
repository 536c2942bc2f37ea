package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Meter is where requests are counted on a platform that does not count them
// itself.
type Meter struct {
	// The Prometheus that reads the counters of the ingress, the mesh or the service itself.
	Prometheus *Prometheus `yaml:"prometheus,required"`
}

// Prometheus is where counters are read, and which; exactly one of ingress and
// queries is given.
type Prometheus struct {
	// The address of its HTTP API, without /api/v1.
	URL string `yaml:"url,required" jsonschema:"pattern=^https?://"`
	// The environment variable that holds a bearer token.
	TokenEnv string `yaml:"token_env" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// The environment variable that holds user:password, for basic authentication.
	BasicAuthEnv string `yaml:"basic_auth_env" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// The environment variable that holds the authorities to trust, in PEM. Without it, those that the machine trusts.
	CAEnv string `yaml:"ca_env" jsonschema:"pattern=^[A-Za-z_][A-Za-z0-9_]*$"`
	// Who counts the requests: an ingress or a mesh that is known, or the service itself (application).
	Ingress Ingress `yaml:"ingress"`
	// What to ask for where none of the known ones counts.
	Queries *Queries `yaml:"queries"`
	// How long one sample is at least, up to 5m. Default 0: as often as Prometheus reads the counters.
	Step time.Duration `yaml:"step"`
}

// Queries select counters of one side: a metric with its matchers, nothing
// around it. {side}, {namespace}, {deployment}, {service} and {pod} stand for
// what is there on that side; {pod} is a regular expression.
type Queries struct {
	// Counters of all requests.
	Requests string `yaml:"requests,required" jsonschema:"minLength=1"`
	// Counters of those that failed.
	Errors string `yaml:"errors,required" jsonschema:"minLength=1"`
	// The buckets of a histogram of durations, with their label le.
	Buckets string `yaml:"buckets,required" jsonschema:"minLength=1"`
	// What le is given in. Default seconds.
	Unit DurationUnit `yaml:"unit"`
}

// Default fills in what a file may leave out.
func (q *Queries) Default() { q.Unit = Seconds }

// Ingress is who counts requests.
type Ingress string

// Those whose counters are known.
const (
	Traefik      Ingress = "traefik"
	IngressNginx Ingress = "ingress-nginx"
	Istio        Ingress = "istio"
	Linkerd      Ingress = "linkerd"
	Application  Ingress = "application"
)

// Values are the texts a file may give.
func (Ingress) Values() []string {
	return []string{string(Traefik), string(IngressNginx), string(Istio), string(Linkerd), string(Application)}
}

// DurationUnit is what the bounds of a histogram are given in.
type DurationUnit string

// The units.
const (
	Seconds      DurationUnit = "seconds"
	Milliseconds DurationUnit = "milliseconds"
)

// Values are the texts a file may give.
func (DurationUnit) Values() []string { return []string{string(Seconds), string(Milliseconds)} }

// Of is the duration of so many units.
func (u DurationUnit) Of(n float64) time.Duration {
	unit := time.Second
	if u == Milliseconds {
		unit = time.Millisecond
	}
	return time.Duration(n * float64(unit))
}

// Selector is a metric with the matchers of its series.
type Selector struct {
	Metric string
	// Matchers are parted by commas, without the braces around them; may be empty.
	Matchers string
}

var (
	selector = regexp.MustCompile(`^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\}\s*)?$`)
	matchers = regexp.MustCompile(`^(\s*[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"([^"\\]|\\.)*"\s*(,|$))*\s*$`)
)

// ParseSelector reads a metric with matchers, as in requests_total{code="200"}.
// Functions and ranges are refused: what counts is read scrape by scrape.
func ParseSelector(text string) (Selector, error) {
	m := selector.FindStringSubmatch(text)
	if m == nil || !matchers.MatchString(m[2]) {
		return Selector{}, fmt.Errorf("expected a metric with its matchers alone, observed %q", text)
	}
	return Selector{Metric: m[1], Matchers: strings.Trim(m[2], " ,")}, nil
}

// sidePlaceholders are those that differ between the sides, and {namespace}.
func sidePlaceholders() []string {
	return []string{"{side}", "{deployment}", "{service}", "{pod}", "{namespace}"}
}

func (k *checker) meter(c *Config) {
	if c.Meter == nil {
		return
	}
	switch c.Target.Kind() {
	case "local":
		k.refuse("meter", "contradicts target local, whose agent counts every request itself", "delete it")
		return
	case "lambda":
		k.refuse("meter", "contradicts target lambda", "delete it")
		return
	}
	if p := c.Meter.Prometheus; p != nil {
		k.prometheus("meter.prometheus", p)
	}
}

func (k *checker) prometheus(at string, p *Prometheus) {
	k.envName(at+".token_env", p.TokenEnv)
	k.envName(at+".basic_auth_env", p.BasicAuthEnv)
	k.envName(at+".ca_env", p.CAEnv)
	if p.TokenEnv != "" && p.BasicAuthEnv != "" {
		k.refuse(at+".basic_auth_env", "both token_env and basic_auth_env are given", "keep one of them")
	}
	if k.doc.Has(at+".url") && !k.faulty(at+".url") {
		k.prometheusURL(at+".url", p)
	}
	if p.Step != 0 {
		k.within(at+".step", p.Step, time.Second, 5*time.Minute)
	}
	switch {
	case k.faulty(at+".ingress") || k.faulty(at+".queries"):
	case p.Ingress == "" && p.Queries == nil:
		k.refuse(at, "expected ingress or queries, observed neither", "say who counts the requests, as in ingress: traefik")
	case p.Ingress != "" && p.Queries != nil:
		k.refuse(at+".queries", "both ingress and queries are given", "keep one of them")
	case p.Queries != nil:
		k.queries(at+".queries", p.Queries)
	}
}

func (k *checker) prometheusURL(at string, p *Prometheus) {
	const suggestion = "write it like https://prometheus.example.com"
	u, err := url.Parse(p.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		k.refuse(at, "expected an http or https URL, observed "+withoutPassword(p.URL), suggestion)
	case u.User != nil:
		k.refuse(at, "a URL with a user in it is a secret, and this file is public", "name the variable that holds user:password in basic_auth_env")
	case u.RawQuery != "" || u.Fragment != "":
		k.refuse(at, fmt.Sprintf("expected no query or fragment, observed %q", p.URL), suggestion)
	case strings.Contains(u.Path+"/", "/api/v1/"):
		k.refuse(at, "expected the address without /api/v1, which is added", "")
	case u.Scheme == "http" && !loopback(u.Hostname()) && (p.TokenEnv != "" || p.BasicAuthEnv != ""):
		k.refuse(at, fmt.Sprintf("expected https, observed %q: what gives access is sent in the clear", p.URL), "")
	}
}

func (k *checker) queries(at string, q *Queries) {
	for _, one := range []struct{ key, text string }{{".requests", q.Requests}, {".errors", q.Errors}, {".buckets", q.Buckets}} {
		at := at + one.key
		if !k.doc.Has(at) || k.faulty(at) {
			continue
		}
		filled, sided := one.text, false
		for i, p := range sidePlaceholders() {
			sided = sided || i < 4 && strings.Contains(filled, p)
			filled = strings.ReplaceAll(filled, p, "x")
		}
		_, err := ParseSelector(filled)
		switch unknown := placeholder.FindString(filled); {
		case unknown != "":
			k.refuse(at, unknown+" is not known", "what is replaced is "+strings.Join(slices.Sorted(slices.Values(sidePlaceholders())), ", "))
		case err != nil:
			k.refuse(at, fmt.Sprintf("expected a metric with its matchers alone, observed %q", one.text), `write it like http_requests_total{service="{service}"}, without functions and [5m]`)
		case !sided:
			k.refuse(at, "names neither {side}, {deployment}, {service} nor {pod}: both revisions would be counted as one", "")
		case one.key == ".buckets" && !strings.HasSuffix(strings.SplitN(strings.TrimSpace(filled), "{", 2)[0], "_bucket"):
			k.refuse(at, fmt.Sprintf("expected the buckets of a histogram, observed %q", one.text), "their name ends in _bucket")
		}
	}
}
