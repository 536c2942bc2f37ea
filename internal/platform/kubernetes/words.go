package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tail bounds what is read of a container's log.
const (
	tailLines = 20
	tailBytes = 16 << 10
)

// lastWords are the last lines of a container's log, on one line, without what
// looks like a secret; empty where they cannot be had.
func (p *Platform) lastWords(ctx context.Context, one pod, container string, previous bool) string {
	text, err := p.cluster.log(ctx, one.Metadata.Name, container, previous)
	if err != nil && previous { // the one before is forgotten, or was never there
		text, err = p.cluster.log(ctx, one.Metadata.Name, container, false)
	}
	if err != nil {
		return ""
	}
	text = strings.Join(strings.Fields(masked(text)), " ")
	if runes := []rune(text); len(runes) > longest { // what was said last is at the end
		text = "... " + string(runes[len(runes)-longest:])
	}
	return text
}

// log reads the end of a container's log.
func (c *cluster) log(ctx context.Context, pod, container string, previous bool) (text string, err error) {
	at, err := url.Parse(c.host)
	if err != nil {
		return "", fmt.Errorf("log of pod %s: %w", pod, err)
	}
	at = at.JoinPath("/api/v1/namespaces", c.namespace, "pods", pod, "log")
	at.RawQuery = url.Values{
		"container": {container}, "previous": {strconv.FormatBool(previous)}, "tailLines": {strconv.Itoa(tailLines)},
	}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("log of pod %s: %w", pod, err)
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("log of pod %s: %w", pod, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("log of pod %s: status %d", pod, response.StatusCode)
	}
	read, err := io.ReadAll(io.LimitReader(response.Body, tailBytes))
	if err != nil {
		return "", fmt.Errorf("log of pod %s: %w", pod, err)
	}
	return string(read), nil
}

// What a log may hold by mistake. Whoever reads the release's page need not be
// one who may read the pods' logs.
var (
	credentials = regexp.MustCompile(`(://)[^\s/@]+@`)
	bearer      = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`)
	named       = regexp.MustCompile(`(?i)([a-z0-9_.-]*(?:passw(?:or)?d|pwd|secret|token|api[_-]?key|access[_-]?key|credential)[a-z0-9_.-]*["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)`)
	jwt         = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)*`)
)

// masked is text without what looks like a secret.
func masked(text string) string {
	text = credentials.ReplaceAllString(text, "$1***@")
	text = bearer.ReplaceAllString(text, "$1 ***")
	text = jwt.ReplaceAllString(text, "***")
	return named.ReplaceAllString(text, "$1***")
}

type event struct {
	Type           string      `json:"type"`
	Reason         string      `json:"reason"`
	Message        string      `json:"message"`
	LastTimestamp  metav1.Time `json:"lastTimestamp"`
	EventTime      metav1.Time `json:"eventTime"`
	FirstTimestamp metav1.Time `json:"firstTimestamp"`
}

func (e event) at() time.Time {
	for _, t := range []metav1.Time{e.LastTimestamp, e.EventTime, e.FirstTimestamp} {
		if !t.IsZero() {
			return t.Time
		}
	}
	return time.Time{}
}

// lastWarning is the newest thing that Kubernetes warned of about a pod; empty
// where it cannot be had.
func (p *Platform) lastWarning(ctx context.Context, one pod) string {
	raws, err := p.cluster.of(events).List(ctx, metav1.ListOptions{
		FieldSelector: "type=Warning,involvedObject.uid=" + string(one.Metadata.UID),
	})
	if err != nil {
		return ""
	}
	listed, err := all[event](raws.Items)
	if err != nil {
		return ""
	}
	var last event
	for _, e := range listed {
		if !e.at().Before(last.at()) {
			last = e
		}
	}
	return line(masked(last.Message))
}
