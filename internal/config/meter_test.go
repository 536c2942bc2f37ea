package config_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/config"
)

const cluster = "service: a\nstrategy: {canary: {}}\ntarget: {kubernetes: {namespace: n, deployment: d, service: s, image: 'i:{revision}'}}\n"

func TestRulesOfAMeter(t *testing.T) {
	metered := func(keys string) string { return cluster + "meter: {prometheus: {url: 'https://p', " + keys + "}}\n" }
	queries := func(requests, buckets string) string {
		return metered("queries: {requests: '" + requests + "', errors: 'e{s=\"{service}\"}', buckets: '" + buckets + "'}")
	}
	const right = `d_bucket{s="{service}"}`
	for _, tc := range []struct{ name, file, want string }{
		{"an ingress", metered("ingress: traefik, token_env: T, ca_env: C, step: 15s"), ""},
		{"queries", queries(`r{a="{side}",b!="x,y}",c=~"{pod}",}`, right), ""},
		{"a metric alone", queries(`r`, right), "4:60: meter.prometheus.queries.requests: names neither {side}, {deployment}, {service} nor {pod}: both revisions would be counted as one"},
		{"the namespace alone", queries(`r{n="{namespace}"}`, right), "4:60: meter.prometheus.queries.requests: names neither"},
		{"a function", queries(`rate(r{s="{service}"}[5m])`, right), "4:60: meter.prometheus.queries.requests: expected a metric with its matchers alone"},
		{"a matcher without quotes", queries(`r{s={service}}`, right), "4:60: meter.prometheus.queries.requests: expected a metric with its matchers alone"},
		{"a placeholder", queries(`r{s="{svc}"}`, right), "4:60: meter.prometheus.queries.requests: {svc} is not known; what is replaced is {deployment}, {namespace}, {pod}, {service}, {side}"},
		{"no buckets", queries(`r{s="{service}"}`, `d_sum{s="{service}"}`), `4:117: meter.prometheus.queries.buckets: expected the buckets of a histogram, observed`},
		{"no errors", metered(`queries: {requests: 'r{s="{service}"}', buckets: '` + right + `'}`), `4:49: missing key "errors" in meter.prometheus.queries`},
		{"neither", metered("step: 15s"), "4:21: meter.prometheus: expected ingress or queries, observed neither; say who counts the requests, as in ingress: traefik"},
		{"both", metered(`ingress: istio, queries: {requests: 'r{s="{service}"}', errors: 'e', buckets: '` + right + `'}`), "4:65: meter.prometheus.queries: both ingress and queries are given"},
		{"an unknown ingress", metered("ingress: traefic"), `4:49: meter.prometheus.ingress: expected one of traefik, ingress-nginx, istio, linkerd, application, observed the text "traefic"; did you mean "traefik"?`},
		{"two ways in", metered("ingress: istio, token_env: T, basic_auth_env: B"), "4:86: meter.prometheus.basic_auth_env: both token_env and basic_auth_env are given"},
		{"a secret as a variable", metered(`ingress: istio, basic_auth_env: "u:p=@"`), "4:72: meter.prometheus.basic_auth_env: expected the name of an environment variable, observed what looks like the secret itself"},
		{"too fine", metered("ingress: istio, step: 100ms"), "4:62: meter.prometheus.step: expected 1s to 5m, observed 100ms"},
		{"no meter in it", cluster + "meter: {}\n", `4:8: missing key "prometheus" in meter`},

		{"a URL with a password", cluster + "meter: {prometheus: {url: 'https://u:p@h', ingress: istio}}\n", "4:27: meter.prometheus.url: a URL with a user in it is a secret"},
		{"a URL of the API", cluster + "meter: {prometheus: {url: 'https://h/api/v1', ingress: istio}}\n", "4:27: meter.prometheus.url: expected the address without /api/v1"},
		{"a URL with a query", cluster + "meter: {prometheus: {url: 'https://h?a=b', ingress: istio}}\n", "4:27: meter.prometheus.url: expected no query"},
		{"a token in the clear", cluster + "meter: {prometheus: {url: 'http://h', ingress: istio, token_env: T}}\n", "4:27: meter.prometheus.url: expected https"},
		{"a token on this host", cluster + "meter: {prometheus: {url: 'http://127.0.0.1:9090', ingress: istio, token_env: T}}\n", ""},
		{"in the clear without a token", cluster + "meter: {prometheus: {url: 'http://h:9090/prometheus', ingress: istio}}\n", ""},

		{"on one host", least[1:] + "meter: {prometheus: {url: 'https://p', ingress: istio}}\n", "4:8: meter: contradicts target local, whose agent counts every request itself; delete it"},
		{"without traffic", "service: a\ntraffic: none\nstrategy: {rolling: {}}\ntarget: {kubernetes: {namespace: n, deployment: d, image: 'i:{revision}'}}\nmeter: {prometheus: {url: 'https://p', ingress: istio}}\n", "5:8: meter: contradicts traffic none"},
	} {
		t.Run(tc.name, func(t *testing.T) { oneFault(t, tc.file, tc.want) })
	}
}

// TestAMeterIsReadAsWritten: any meter, written out, is read back unchanged, and
// an editor that goes by the schema has nothing against it.
func TestAMeterIsReadAsWritten(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../gapless.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		base, err := config.Parse("gapless.yaml", []byte(cluster))
		if err != nil {
			t.Fatal(err)
		}
		base.Meter = meter(t)
		text := written(t, base)
		got, err := config.Parse("gapless.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(base, got, ignoreSource); diff != "" {
			t.Fatalf("%s\n%s", diff, text)
		}
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

func meter(t *rapid.T) *config.Meter {
	p := &config.Prometheus{
		URL:  rapid.SampledFrom([]string{"https://p.example.com", "http://127.0.0.1:9090/prometheus"}).Draw(t, "url"),
		Step: time.Duration(rapid.SampledFrom([]int{0, 1, 15, 300}).Draw(t, "step")) * time.Second,
	}
	variable := rapid.StringMatching(`[A-Z_][A-Z0-9_]{0,8}`)
	switch rapid.IntRange(0, 2).Draw(t, "auth") {
	case 1:
		p.TokenEnv, p.CAEnv = variable.Draw(t, "token_env"), variable.Draw(t, "ca_env")
	case 2:
		p.BasicAuthEnv = variable.Draw(t, "basic_auth_env")
	}
	if p.Ingress = config.Ingress(rapid.SampledFrom(append(config.Ingress("").Values(), "")).Draw(t, "ingress")); p.Ingress == "" {
		matcher := rapid.StringMatching(`[a-z_]{1,8}(=|!=|=~|!~)"[a-z0-9.,|{}]{0,6}"`)
		side := rapid.SampledFrom([]string{"{side}", "{deployment}", "{service}", "{pod}"})
		query := func(metric string) string {
			return metric + "{" + matcher.Draw(t, "matcher") + `, x="` + side.Draw(t, "side") + `"}`
		}
		p.Queries = &config.Queries{
			Requests: query("requests_total"), Errors: query("errors:total"), Buckets: query("d_bucket"),
			Unit: rapid.SampledFrom([]config.DurationUnit{config.Seconds, config.Milliseconds}).Draw(t, "unit"),
		}
	}
	return &config.Meter{Prometheus: p}
}

// TestTheGuidesMetersAreRead: what the guide shows can be copied.
func TestTheGuidesMetersAreRead(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guides/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(guide), "```yaml\n")[1:]
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```")
		if text = "service: a\nstrategy: {canary: {}}\n" + text; !strings.Contains(text, "target:") {
			text = cluster + text[strings.Index(text, "meter:"):]
		}
		c, err := config.Parse("f", []byte(text))
		if err != nil || c.Meter == nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	if len(blocks) < 2 {
		t.Errorf("the guide has %d examples", len(blocks))
	}
}

func TestASelectorIsAMetricWithMatchers(t *testing.T) {
	for text, want := range map[string]config.Selector{
		"a":                       {Metric: "a"},
		" a:b_total {} ":          {Metric: "a:b_total"},
		`a{b="c", d=~"e{2},\"f"}`: {Metric: "a", Matchers: `b="c", d=~"e{2},\"f"`},
		`a{b="c",}`:               {Metric: "a", Matchers: `b="c"`},
	} {
		if got, err := config.ParseSelector(text); err != nil || got != want {
			t.Errorf("%s: want %+v, got %+v, %v", text, want, got, err)
		}
	}
	for _, text := range []string{"", "{}", `{__name__="a"}`, "a[5m]", "sum(a)", `a{b}`, `a{b="c"} or d`, `a{b="c"} or d{e="f"}`, `a{b="c" d="e"}`, "a offset 5m", "1a"} {
		if got, err := config.ParseSelector(text); err == nil {
			t.Errorf("%s is taken for %+v", text, got)
		}
	}
}
