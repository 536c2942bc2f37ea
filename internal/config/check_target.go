package config

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

func (k *checker) target(t Target) {
	k.exactlyOne("target", t.kinds(), "local, kubernetes, ecs, lambda")
	for _, kind := range t.kinds() {
		if kind == "ecs" || kind == "lambda" {
			k.faults = append(k.faults, k.doc.Fault("target."+kind,
				fmt.Sprintf("target %s is not supported by this build", kind), "use local or kubernetes"))
		}
	}
	if t.Local != nil {
		k.local(t.Local)
	}
	if t.Kubernetes != nil {
		k.kubernetes(t.Kubernetes)
	}
}

func (k *checker) local(l *Local) {
	const at = "target.local"
	if k.doc.Has(at+".agent") && !k.faulty(at+".agent") {
		k.agent(at+".agent", l.Agent)
	}
	k.envName(at+".token_env", l.TokenEnv)
	k.envName(at+".ca_env", l.CAEnv)
	k.envName(at+".port_env", l.PortEnv)
	if !k.faulty(at+".instances") && (l.Instances < 1 || l.Instances > 100) {
		k.refuse(at+".instances", fmt.Sprintf("expected 1 to 100, observed %d", l.Instances), "")
	}
	for i, argument := range l.Command {
		k.placeholders(fmt.Sprintf("%s.command[%d]", at, i), argument)
	}
	k.placeholders(at+".dir", l.Dir)
	k.env(at+".env", l)
	switch {
	case !k.doc.Has(at+".command") || k.faulty(at+".command"):
	case len(l.Command) == 0 || strings.TrimSpace(l.Command[0]) == "":
		k.refuse(at+".command", "expected a program, observed nothing", "")
	case !l.namesRevision():
		k.refuse(at+".command", "{revision} is in neither command, dir nor env: every revision would be the same program", `write it like ["./releases/{revision}/app"]`)
	}
}

// agent allows what keeps the token on this host, or hidden on the way.
func (k *checker) agent(at, agent string) {
	const suggestion = "write it like http://127.0.0.1:7070, unix:///run/gapless.sock or https://172.17.0.1:7071"
	u, err := url.Parse(agent)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "unix") || u.Opaque != "":
		k.refuse(at, "expected an http, https or unix URL, observed "+withoutPassword(agent), suggestion)
	case u.User != nil:
		k.refuse(at, "a URL with a user in it is a secret", "name the token's environment variable in token_env")
	case u.RawQuery != "" || u.Fragment != "":
		k.refuse(at, fmt.Sprintf("expected no query or fragment, observed %q", agent), suggestion)
	case u.Scheme == "unix":
		if u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) == "/" {
			k.refuse(at, fmt.Sprintf("expected the socket's absolute path, observed %q", agent), suggestion)
		}
	case u.Scheme == "http" && !loopback(u.Hostname()):
		k.refuse(at, fmt.Sprintf("expected this host, observed %q: the token is sent in the clear", u.Hostname()), suggestion)
	case u.Port() == "" || (u.Path != "" && u.Path != "/"):
		k.refuse(at, fmt.Sprintf("expected a port and no path, observed %q", agent), suggestion)
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (k *checker) env(at string, l *Local) {
	for _, name := range slices.Sorted(maps.Keys(l.Env)) {
		value, in := l.Env[name], at+"."+name
		if !variable.MatchString(name) {
			k.refuse(at, fmt.Sprintf("%q is not the name of an environment variable", name), "")
			continue
		}
		if name == l.PortEnv {
			k.refuse(in, "the agent sets this variable to the instance's port", "delete it, or name another port_env")
		}
		if carriesPassword(value) {
			k.refuse(in, "the value carries a password, and this file is public", "set it in the agent's own environment, which the program inherits")
		}
		if strings.ContainsRune(value, 0) {
			k.refuse(in, "the value has a NUL byte", "")
		}
		k.placeholders(in, value)
	}
}

func (k *checker) placeholders(at, text string) {
	if unknown := unknownPlaceholder(text); unknown != "" {
		k.refuse(at, fmt.Sprintf("%s is not known", unknown), "only {revision} is replaced")
	}
}

// envName refuses a secret where its variable's name belongs, without showing
// it again.
func (k *checker) envName(at, name string) {
	switch {
	case k.faulty(at) || !k.doc.Has(at) || variable.MatchString(name):
	case strings.ContainsAny(name, "=@/"):
		k.refuse(at, "expected the name of an environment variable, observed what looks like the secret itself",
			"put it into a secret, take it out of this file and of its history, and name the variable here")
	default:
		k.refuse(at, fmt.Sprintf("expected the name of an environment variable, observed %q", name), "write it like DATABASE_URL")
	}
}

// carriesPassword recognises a URL with a password, and a connection string in
// key=value form with one.
func carriesPassword(text string) bool {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		_, has := u.User.Password()
		return has
	}
	for word := range strings.FieldsSeq(text) {
		if value, ok := strings.CutPrefix(strings.ToLower(word), "password="); ok && value != "" {
			return true
		}
	}
	return false
}

func withoutPassword(text string) string {
	if strings.Contains(text, "@") {
		return "something with an @ in it"
	}
	return fmt.Sprintf("%q", text)
}

func (k *checker) probe(p *Probe) {
	if k.doc.Has("probe.url") && !k.faulty("probe.url") {
		u, err := url.Parse(p.URL)
		switch {
		case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
			k.refuse("probe.url", "expected an http or https URL, observed "+withoutPassword(p.URL), "write it like https://shop.example.com/healthz")
		case u.User != nil:
			k.refuse("probe.url", "a URL with a user in it is a secret, and this file is public", "probe a path that needs no login")
		}
	}
	k.within("probe.every", p.Every, 10*time.Millisecond, time.Minute)
}

func (k *checker) judge(j Judge) {
	for _, ratio := range []struct {
		at    string
		value float64
	}{
		{"judge.errors.ratio", j.Errors.Ratio}, {"judge.slow.ratio", j.Slow.Ratio},
		{"judge.cpu.ratio", j.CPU.Ratio}, {"judge.memory.ratio", j.Memory.Ratio},
	} {
		if !k.faulty(ratio.at) && ratio.value <= 1 {
			k.refuse(ratio.at, fmt.Sprintf("expected more than 1, observed %v: the same revision would fail", ratio.value), "")
		}
	}
	k.within("judge.slow.over", j.Slow.Over, time.Millisecond, 10*time.Minute)
	if !k.faulty("judge.min_requests") && (j.MinRequests < 1 || j.MinRequests > math.MaxInt32) {
		k.refuse("judge.min_requests", fmt.Sprintf("expected 1 to %d, observed %d: a candidate without traffic is not proved", math.MaxInt32, j.MinRequests), "")
	}
}
