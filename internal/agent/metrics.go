package agent

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// metrics answers in Prometheus' format.
func (a *agent) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		newCollector(a),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector reads the agent when it is asked; nothing is counted twice.
type collector struct {
	agent *agent

	requests, errors, slow, duration  *prometheus.Desc
	cpu, memory, weight, inFlight     *prometheus.Desc
	instances, restarts               *prometheus.Desc
	unserved, retried, diverted, cuts *prometheus.Desc
	slowClients                       *prometheus.Desc
}

func newCollector(a *agent) *collector {
	service := prometheus.Labels{"service": a.opts.Service}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gapless_"+name, help, labels, service)
	}
	of := []string{"side", "revision", "digest"}
	return &collector{
		agent:       a,
		requests:    desc("requests_total", "Public requests that ended.", of...),
		errors:      desc("request_errors_total", "Public requests answered 5xx or broken off by the instance.", of...),
		slow:        desc("slow_requests_total", "Public requests that took longer than slow_over.", of...),
		duration:    desc("request_duration_seconds", "Duration of public requests.", of...),
		cpu:         desc("cpu_seconds_total", "CPU time used by all instances together, while they are watched.", of...),
		memory:      desc("memory_bytes", "Mean resident size of an instance.", of...),
		weight:      desc("weight_ratio", "Share of public traffic.", "side"),
		inFlight:    desc("requests_in_flight", "Requests that an instance has now.", append(of, "instance")...),
		instances:   desc("instances", "Instances by phase.", append(of, "phase")...),
		restarts:    desc("instance_restarts", "Restarts of an instance since its launch.", append(of, "instance")...),
		unserved:    desc("unserved_requests_total", "Public requests answered 503 because no instance could take them."),
		retried:     desc("retried_requests_total", "Attempts that an instance refused before anything was written, made again elsewhere."),
		diverted:    desc("diverted_requests_total", "Public requests taken by the other serving side for want of a ready instance."),
		cuts:        desc("cut_requests_total", "Requests still in flight at the end of a drain."),
		slowClients: desc("slow_clients_cut_total", "Public requests ended because the client made no progress."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.requests, c.errors, c.slow, c.duration, c.cpu, c.memory, c.weight, c.inFlight,
		c.instances, c.restarts, c.unserved, c.retried, c.diverted, c.cuts, c.slowClients,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	for key, totals := range c.agent.book.Totals() {
		labels := labelsOf(key)
		counter(c.requests, float64(totals.Requests), labels...)
		counter(c.errors, float64(totals.Errors), labels...)
		counter(c.slow, float64(totals.Slow), labels...)
		out <- prometheus.MustNewConstHistogram(c.duration, totals.Requests, totals.Seconds, cumulative(totals), labels...)
	}
	stats := c.agent.router.Stats()
	counter(c.unserved, float64(stats.Unserved))
	counter(c.retried, float64(stats.Retried))
	counter(c.diverted, float64(stats.Diverted))
	counter(c.cuts, float64(stats.Cut))
	counter(c.slowClients, float64(stats.Slow))
	c.agent.reading.Lock()
	for key, used := range c.agent.spent {
		counter(c.cpu, used.CPUSeconds, labelsOf(key)...)
		out <- prometheus.MustNewConstMetric(c.memory, prometheus.GaugeValue, used.MemoryBytes, labelsOf(key)...)
	}
	c.agent.reading.Unlock()
	c.collectState(out, c.agent.state())
}

func (c *collector) collectState(out chan<- prometheus.Metric, state api.State) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, side := range api.Sides() {
		gauge(c.weight, float64(state.Split.Weights[side])/api.Whole, string(side))
	}
	all := state.Draining
	for _, side := range state.Sides {
		all = append(all, side.Instances...)
	}
	phases := map[[4]string]float64{}
	for _, in := range all {
		labels := labelsOf(tally.Key{Side: in.Side, Revision: in.Revision})
		phases[[4]string{labels[0], labels[1], labels[2], string(in.Phase)}]++
		gauge(c.inFlight, float64(in.InFlight), append(labels, in.Name)...)
		gauge(c.restarts, float64(in.Restarts), append(labels, in.Name)...)
	}
	for labels, n := range phases {
		gauge(c.instances, n, labels[:]...)
	}
}

func labelsOf(key tally.Key) []string {
	return []string{string(key.Side), key.Revision.ID, key.Revision.Digest}
}

// cumulative turns counts by class into Prometheus' counts up to each bound.
func cumulative(totals tally.Totals) map[float64]uint64 {
	up := map[float64]uint64{}
	sum := uint64(0)
	for i, bound := range api.DurationBounds() {
		sum += totals.Durations[i]
		up[bound.Seconds()] = sum
	}
	return up
}
