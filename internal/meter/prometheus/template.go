package prometheus

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// selection is what one revision's counters are selected by.
type selection struct {
	requests []config.Selector
	// errors are counters of their own; without them those requests failed whose
	// label code is 5xx.
	errors  []config.Selector
	code    model.LabelName
	buckets []config.Selector
	unit    config.DurationUnit
}

// serverError is how a failed request's status is written, also where statuses
// are counted by class.
var serverError = regexp.MustCompile(`^5(..|xx)$`)

// failed reports whether a series counts requests that failed.
func (s selection) failed(m model.Metric) bool { return serverError.MatchString(string(m[s.code])) }

// place is where one revision runs.
type place struct {
	side      rollout.Side
	namespace string
	Side
	pods string // a regular expression
}

// safe are the characters that Kubernetes makes random parts of names of.
const safe = "[bcdfghjklmnpqrstvwxz2456789]"

// podsOf matches the pods of a Deployment, also those that are gone, and no
// other's whose name begins alike. Kubernetes cuts a name at 58 characters
// before it adds the five random ones.
func podsOf(deployment string) string {
	const most = 58
	if longest := most - len("-1234567890-"); len(deployment) > longest {
		return regexp.QuoteMeta(deployment[:min(len(deployment), most)]) + "(-" + safe + "*)?-?" + safe + "{5}"
	}
	return regexp.QuoteMeta(deployment) + "-" + safe + "+-" + safe + "{5}"
}

// podsNamed matches these pods and no others; without any it matches none, which
// an empty expression would not.
func podsNamed(instances []rollout.Instance) string {
	if len(instances) == 0 {
		return "-"
	}
	names := make([]string, len(instances))
	for i, one := range instances {
		names[i] = regexp.QuoteMeta(one.Name)
	}
	slices.Sort(names)
	return strings.Join(names, "|")
}

// quoted writes text into a PromQL string.
func quoted(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }

// selects gives the counters of a place, as this ingress or mesh names them.
func (p place) selects(by config.Ingress) (selection, error) {
	s := selection{unit: config.Seconds, code: "code"}
	switch by {
	case config.Traefik:
		s.of("traefik_service_requests_total", "traefik_service_request_duration_seconds_bucket", p.traefik())
	case config.IngressNginx:
		s.code = "status"
		s.of("nginx_ingress_controller_requests", "nginx_ingress_controller_request_duration_seconds_bucket", p.nginx())
	case config.Istio:
		s.code, s.unit = "response_code", config.Milliseconds
		s.of("istio_requests_total", "istio_request_duration_milliseconds_bucket", []string{fmt.Sprintf(
			`reporter=~"destination|waypoint",destination_workload_namespace=%q,destination_workload=%q`, p.namespace, p.Deployment)})
	case config.Linkerd:
		s.code, s.unit = "status_code", config.Milliseconds
		s.of("response_total", "response_latency_ms_bucket", []string{fmt.Sprintf(
			`direction="inbound",namespace=%q,deployment=%q`, p.namespace, p.Deployment)})
	case config.Application:
		s.of("http_requests_total", "http_request_duration_seconds_bucket", []string{fmt.Sprintf(
			`namespace=%q,pod=~"%s"`, p.namespace, quoted(p.pods))})
	default:
		return selection{}, fmt.Errorf("counters of %q are not known", by)
	}
	return s, nil
}

func (s *selection) of(requests, buckets string, matchers []string) {
	for _, m := range matchers {
		s.requests = append(s.requests, config.Selector{Metric: requests, Matchers: m})
		s.buckets = append(s.buckets, config.Selector{Metric: buckets, Matchers: m})
	}
}

// traefik names a Service by where its route comes from: the Gateway API, an
// Ingress or an IngressRoute. A label of the same name that the scrape adds
// turns it into exported_service.
func (p place) traefik() []string {
	name := quoted(regexp.QuoteMeta(p.namespace + "-" + p.Service))
	value := name + "-http-[0-9]+@kubernetesgateway|" + name + "-[a-z0-9]+@kubernetes(crd)?"
	return []string{fmt.Sprintf(`service=~"%s"`, value), fmt.Sprintf(`exported_service=~"%s"`, value)}
}

// nginx counts what a canary Ingress takes under the Service of the Ingress
// that it belongs to; the label canary then names whose it is. Labels of the
// same name that the scrape adds turn these into exported ones.
func (p place) nginx() []string {
	var out []string
	alternative := quoted(regexp.QuoteMeta(p.namespace+"-"+p.Service)) + "-[a-z0-9]+"
	for _, labels := range [][2]string{{"namespace", "service"}, {"exported_namespace", "exported_service"}, {"exported_namespace", "service"}} {
		out = append(out, fmt.Sprintf(`%s=%q,%s=%q,canary=~"|-"`, labels[0], p.namespace, labels[1], p.Service))
	}
	for _, namespace := range []string{"namespace", "exported_namespace"} {
		out = append(out, fmt.Sprintf(`%s=%q,canary=~"%s"`, namespace, p.namespace, alternative))
	}
	return out
}

// asks gives the counters of a place by a user's own queries.
func (p place) asks(q config.Queries) (selection, error) {
	fill := strings.NewReplacer("{side}", string(p.side), "{namespace}", p.namespace,
		"{deployment}", p.Deployment, "{service}", p.Service, "{pod}", quoted(p.pods))
	s := selection{unit: q.Unit}
	for _, one := range []struct {
		text string
		into *[]config.Selector
	}{{q.Requests, &s.requests}, {q.Errors, &s.errors}, {q.Buckets, &s.buckets}} {
		parsed, err := config.ParseSelector(fill.Replace(one.text))
		if err != nil {
			return selection{}, err
		}
		*one.into = []config.Selector{parsed}
	}
	return s, nil
}

// query writes a selector, with one more matcher where there is one.
func query(s config.Selector, more string) string {
	both := strings.Trim(s.Matchers+","+more, ",")
	return s.Metric + "{" + both + "}"
}
