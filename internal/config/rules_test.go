package config_test

import (
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/config"
)

// TestRules breaks one rule at a time in a file that is otherwise right: each
// must give exactly one fault, and with its value at the bound none.
func TestRules(t *testing.T) {
	const (
		local  = "target: {local: {agent: \"unix:///run/gapless.sock\", command: [\"./{revision}\"], health: /}}\n"
		canary = "strategy: {canary: {}}\n"
	)
	onLocal := func(keys string) string {
		return "service: a\n" + canary + "target: {local: {command: [\"./{revision}\"], health: /, " + keys + "}}\n"
	}
	onAgent := func(agent string) string { return onLocal(`agent: "` + agent + `"`) }
	onLocalToo := func(keys string) string { return onLocal(`agent: "unix:///s", ` + keys) }
	onCanary := func(keys string) string { return "service: a\n" + local + "strategy: {canary: {" + keys + "}}\n" }
	also := func(keys string) string { return "service: a\n" + local + canary + keys + "\n" }
	onCluster := func(keys string) string {
		return "service: a\n" + canary + "target: {kubernetes: {namespace: n, deployment: d, " + keys + "}}\n"
	}
	service := func(name string) string { return "service: " + name + "\n" + local + canary }

	for _, tc := range []struct{ name, file, want string }{
		{"service in capitals", service("Shop"), `1:10: service: expected lower-case letters, digits and hyphens, at most 63, observed "Shop"`},
		{"service of 64", service(strings.Repeat("a", 64)), "1:10: service: expected lower-case"},
		{"service of 63", service(strings.Repeat("a", 63)), ""},
		{"no service", local + canary, `1:1: missing key "service"`},

		{"no target", "service: a\n" + canary, `1:1: missing key "target"`},
		{"empty target", "service: a\ntarget: {}\n" + canary, "2:9: target: expected one of local, kubernetes, ecs, lambda, observed none"},
		{"kubernetes", onCluster("service: s, image: 'i:{revision}'"), ""},
		{"kubernetes without an image", onCluster("service: s"), `3:22: missing key "image" in target.kubernetes`},
		{"kubernetes without a service", onCluster("image: 'i:{revision}'"), "3:22: target.kubernetes.service: traffic http comes by a Service; name it, or set traffic to none"},
		{"one image for all revisions", onCluster("service: s, image: 'i:1'"), `3:71: target.kubernetes.image: expected {revision} once, observed "i:1"`},
		{"a name in capitals", onCluster("service: Shop, image: 'i:{revision}'"), `3:61: target.kubernetes.service: expected the name of an object, observed "Shop"`},
		{"a route and an ingress", onCluster("service: s, image: 'i:{revision}', route: r, ingress: i"), "3:106: target.kubernetes.ingress: both route and ingress are given"},
		{"a preview header", onCluster("service: s, image: 'i:{revision}', route: r, preview_header: 'X-Canary: yes'"), ""},
		{"a preview header without a value", onCluster("service: s, image: 'i:{revision}', route: r, preview_header: X-Canary"), "3:113: target.kubernetes.preview_header: expected a header and its value"},
		{"a preview header at a Service", onCluster("service: s, image: 'i:{revision}', preview_header: 'X-Canary: yes'"), "3:103: target.kubernetes.preview_header: a Service cannot go by a header"},
		{"no replicas", onCluster("service: s, image: 'i:{revision}', replicas: 0"), "3:97: target.kubernetes.replicas: expected 1 to 1000, observed 0"},
		{"ecs", "service: a\ntarget: {ecs: {cluster: c, service: s}}\n" + canary, "2:15: target ecs is not supported by this build; use local or kubernetes"},
		{"lambda", "service: a\ntarget: {lambda: {function: f, alias: live}}\n" + canary, "2:18: target lambda is not supported by this build; use local or kubernetes"},
		{"a misspelt target", "service: a\ntarget: {locl: {}}\n" + canary, `2:10: unknown key "locl" in target; did you mean "local"?`},

		{"agent elsewhere", onAgent("http://example.com:80"), `3:63: target.local.agent: expected this host, observed "example.com": the token is sent in the clear`},
		{"agent over https", onAgent("https://172.17.0.1:7071"), ""},
		{"agent over https without port", onAgent("https://172.17.0.1"), "3:63: target.local.agent: expected a port and no path"},
		{"agent over something else", onAgent("ftp://127.0.0.1:80"), "3:63: target.local.agent: expected an http, https or unix URL"},
		{"agent without port", onAgent("http://127.0.0.1"), "3:63: target.local.agent: expected a port and no path"},
		{"agent with a path", onAgent("http://127.0.0.1:80/x"), "3:63: target.local.agent: expected a port and no path"},
		{"agent with a user", onAgent("http://u:p@127.0.0.1:80"), "3:63: target.local.agent: a URL with a user in it is a secret"},
		{"agent with a query", onAgent("http://127.0.0.1:80?a"), "3:63: target.local.agent: expected no query or fragment"},
		{"agent, IPv6", onAgent("http://[::1]:7070"), ""},
		{"agent, localhost", onAgent("http://localhost:7070"), ""},
		{"agent, a relative socket", onAgent("unix://run/x"), "3:63: target.local.agent: expected the socket's absolute path"},
		{"agent, no socket", onAgent("unix:///"), "3:63: target.local.agent: expected the socket's absolute path"},
		{"agent, nothing", onAgent(""), "3:63: target.local.agent: expected an http, https or unix URL"},

		{"no instances", onLocalToo("instances: 0"), "3:87: target.local.instances: expected 1 to 100, observed 0"},
		{"100 instances", onLocalToo("instances: 100"), ""},
		{"101 instances", onLocalToo("instances: 101"), "3:87: target.local.instances: expected 1 to 100, observed 101"},
		{"ca_env", onLocalToo(`ca_env: "a b"`), "3:84: target.local.ca_env: expected the name of an environment variable"},
		{"port in env", onLocalToo(`env: {PORT: "80"}`), "3:88: target.local.env.PORT: the agent sets this variable"},
		{"port in env, another port_env", onLocalToo(`env: {PORT: "80"}, port_env: APP_PORT`), ""},
		{"a password in env", onLocalToo(`env: {DB: "postgres://u:p@h/d"}`), "3:86: target.local.env.DB: the value carries a password, and this file is public"},
		{"a password in a connection string", onLocalToo(`env: {DB: "host=h password=p"}`), "3:86: target.local.env.DB: the value carries a password"},
		{"a URL without password in env", onLocalToo(`env: {DB: "postgres://u@h/d"}`), ""},
		{"a placeholder in env", onLocalToo(`env: {A: "{side}"}`), "3:85: target.local.env.A: {side} is not known; only {revision} is replaced"},
		{"a placeholder in dir", onLocalToo(`dir: "{port}"`), "3:81: target.local.dir: {port} is not known; only {revision} is replaced"},
		{"braces that are no placeholder", onLocalToo(`env: {A: '{"a": {}}'}`), ""},
		{"token_env", onLocalToo(`token_env: "a b"`), "3:87: target.local.token_env: expected the name of an environment variable"},
		{"port_env", onLocalToo(`port_env: "80"`), "3:86: target.local.port_env: expected the name of an environment variable"},
		{"no command", "service: a\n" + canary + "target: {local: {agent: \"unix:///s\", command: [], health: /}}\n", "3:47: target.local.command: expected a program, observed nothing"},
		{"one program for all", "service: a\n" + canary + "target: {local: {agent: \"unix:///s\", command: [./app], health: /}}\n", "3:47: target.local.command: {revision} is in neither"},
		{"the revision in env", "service: a\n" + canary + "target: {local: {agent: \"unix:///s\", command: [./app], env: {V: \"{revision}\"}, health: /}}\n", ""},
		{"health", "service: a\n" + canary + "target: {local: {agent: \"unix:///s\", command: [\"./{revision}\"], health: ok}}\n", `3:73: target.local.health: expected a path that starts with /, observed "ok"`},

		{"no strategy", "service: a\n" + local, `1:1: missing key "strategy"`},
		{"blue_green without traffic", "service: a\ntraffic: none\n" + local + "strategy: {blue_green: {bake: 10m}}\n", "2:10: traffic: none cannot be divided by strategy blue_green; use strategy rolling"},
		{"rolling settles too long", "service: a\n" + local + "strategy: {rolling: {bake: 20s}}\n", "3:28: strategy.rolling.bake: settle, 30s, leaves nothing of bake, 20s, to judge; settle is 30s unless given: give a shorter one too"},
		{"batch as a mapping", "service: a\n" + local + "strategy: {rolling: {batch: {}}}\n", "3:29: strategy.rolling.batch: expected a single value, observed a mapping"},
		{"abandoned at once", also("abandon_after: 0s"), "4:16: abandon_after: expected 1s to 2160h, observed 0s"},
		{"canary without traffic", also("traffic: none"), "4:10: traffic: none cannot be divided by strategy canary; use strategy rolling"},

		{"no step", onCanary("steps: []"), "3:28: strategy.canary.steps: expected at least one step"},
		{"a step of 0", onCanary("steps: [0, 100]"), "3:29: strategy.canary.steps[0]: a step of 0 sends no traffic"},
		{"steps that fall", onCanary("steps: [5, 1, 100]"), "3:32: strategy.canary.steps[1]: expected more than 5%, the step before, observed 1%"},
		{"steps that stay", onCanary("steps: [1, 1, 100]"), "3:32: strategy.canary.steps[1]: expected more than 1%, the step before, observed 1%"},
		{"steps that end early", onCanary("steps: [1, 99.9]"), "3:32: strategy.canary.steps[1]: expected the last step to be 100%, observed 99.9%; add 100"},
		{"a fine step", onCanary("steps: [0.05, 100]"), `3:29: strategy.canary.steps[0]: weight "0.05": allowed are steps of 0.1 percent`},
		{"the finest step", onCanary("steps: [0.1, 100]"), ""},
		{"a step above all", onCanary("steps: [101]"), `3:29: strategy.canary.steps[0]: weight "101": allowed are 0 to 100 percent`},
		{"a step as text", onCanary(`steps: ["5", 100]`), `3:29: strategy.canary.steps[0]: expected a number, observed the text "5"; write it without quotes`},

		{"bake_limit below bake", onCanary("bake: 10m, bake_limit: 9m"), "3:44: strategy.canary.bake_limit: expected at least bake, 10m, observed 9m"},
		{"bake_limit of bake", onCanary("bake: 10m, bake_limit: 10m"), ""},
		{"bake beyond the default limit", onCanary("bake: 40m"), ""},
		{"settle of bake", onCanary("bake: 1m, settle: 1m"), "3:39: strategy.canary.settle: settle, 1m, leaves nothing of bake, 1m, to judge"},
		{"bake below the default settle", onCanary("bake: 30s"), "3:27: strategy.canary.bake: settle, 30s, leaves nothing of bake, 30s, to judge; settle is 30s unless given"},
		{"bake just above settle", onCanary("bake: 31s"), ""},
		{"bake beyond a job", onCanary("bake: 6h"), "3:27: strategy.canary.bake: a job may run for 6h, so at most 5h, observed 6h; use more steps"},
		{"bake of 5h", onCanary("bake: 5h"), ""},
		{"bake_limit beyond a job", onCanary("bake_limit: 5h1s"), "3:33: strategy.canary.bake_limit: a job may run for 6h"},

		{"ready_within", also("ready_within: 0"), "4:15: ready_within: expected 1s to 1h, observed 0s"},
		{"drain", also("drain: 61m"), "4:8: drain: expected 0s to 1h, observed 1h1m"},
		{"no drain", also("drain: 0"), ""},
		{"rollback_window", also("rollback_window: 91d"), "4:18: rollback_window: expected 0s to 2160h, observed 2184h"},
		{"smoke status", also("smoke: [{get: /, status: 600}]"), "4:26: smoke[0].status: expected an HTTP status from 100 to 599, observed 600"},
		{"smoke path", also("smoke: [{get: /a b}]"), `4:15: smoke[0].get: expected a path, observed " " in it`},
		{"smoke path with half an escape", also("smoke: [{get: /100%}]"), `4:15: smoke[0].get: expected a path, observed "/100%": invalid URL escape "%"`},
		{"warmup backwards", also("warmup: [{get: \"/{2..1}\"}]"), "4:16: warmup[0].get: range {2..1} runs backwards"},
		{"warmup without end", also("warmup: [{get: \"/{1..100}/{1..101}\"}]"), `4:16: warmup[0].get: "/{1..100}/{1..101}" stands for more than 10000 requests`},
		{"warmup at the bound", also("warmup: [{get: \"/{1..100}/{1..100}\"}]"), ""},
		{"warmup with letters", also("warmup: [{get: \"/{a..z}\"}]"), `4:16: warmup[0].get: range in "/{a..z}" is not understood; write it like {1..50}`},
		{"probe of a path", also("probe: {url: /healthz}"), `4:14: probe.url: expected an http or https URL, observed "/healthz"`},
		{"probe with a login", also("probe: {url: \"http://u:p@h/\"}"), "4:14: probe.url: a URL with a user in it is a secret"},
		{"probe every", also("probe: {url: \"http://h/\", every: 0}"), "4:34: probe.every: expected 10ms to 1m, observed 0s"},

		{"points as percentage", also("judge: {errors: {worse_by: 1%}}"), `4:28: judge.errors.worse_by: expected percentage points above 0pp, at most 100pp, observed "1%"; write 1pp`},
		{"points bare", also("judge: {slow: {worse_by: 0.5}}"), `4:26: judge.slow.worse_by: expected percentage points above 0pp, at most 100pp, observed "0.5"; write 0.5pp`},
		{"no points", also("judge: {slow: {worse_by: 0pp}}"), "4:26: judge.slow.worse_by: expected percentage points above 0pp"},
		{"ratio of 1", also("judge: {cpu: {ratio: 1}}"), "4:22: judge.cpu.ratio: expected more than 1, observed 1: the same revision would fail"},
		{"slow over nothing", also("judge: {slow: {over: 0}}"), "4:22: judge.slow.over: expected 1ms to 10m, observed 0s"},
		{"no requests", also("judge: {min_requests: 0}"), "4:23: judge.min_requests: expected 1 to 2147483647, observed 0"},

		{"a secret as url_env", also("schema: {url_env: \"postgres://u:p@h/d\"}"), "4:19: schema.url_env: expected the name of an environment variable, observed what looks like the secret itself"},
		{"changes without url_env", also("schema: {changes: [a.yaml]}"), `4:9: missing key "url_env" in schema`},
		{"a change elsewhere", also("schema: {url_env: U, changes: [db/../../a.yaml]}"), "4:32: schema.changes[0]: db/../../a.yaml is outside this file's directory"},
		{"a change from the root", also("schema: {url_env: U, changes: [/a.yaml]}"), "4:32: schema.changes[0]: /a.yaml is outside this file's directory"},
		{"a change twice", also("schema: {url_env: U, changes: [a.yaml, db/../a.yaml]}"), "4:40: schema.changes[1]: db/../a.yaml is given twice, first as schema.changes[0]"},
		{"a change with a backslash", also(`schema: {url_env: U, changes: ["db\\a.yaml"]}`), "4:32: schema.changes[0]: expected a path with /"},

		{"a gate of both", also("gates: {promote: {environment: e, comment: admin}}"), "4:44: gates.promote.comment: expected environment or comment, observed both; keep one of them"},
		{"a gate of neither", also("gates: {promote: {}}"), "4:18: gates.promote: expected environment or comment, observed neither"},
		{"a gate by comment", also("gates: {promote: {comment: maintain}}"), ""},
		{"a gate for readers", also("gates: {promote: {comment: read}}"), `4:28: gates.promote.comment: expected one of write, maintain, admin, observed the text "read"`},
		{"backfill: workers 0", also("schema: {url_env: U, backfill: {workers: 0}}"), "4:42: schema.backfill.workers: expected 1 to 32, observed 0"},
		{"backfill: workers 33", also("schema: {url_env: U, backfill: {workers: 33}}"), "4:42: schema.backfill.workers: expected 1 to 32, observed 33"},
		{"backfill: max_rate -1", also("schema: {url_env: U, backfill: {max_rate: -1}}"), "4:43: schema.backfill.max_rate: expected 0 or more, observed -1"},
		{"backfill: batch_target 1ms", also("schema: {url_env: U, backfill: {batch_target: 1ms}}"), "4:47: schema.backfill.batch_target: expected 10ms to 5s, observed 1ms"},
		{"backfill: max_lag 25h", also("schema: {url_env: U, backfill: {max_lag: 25h}}"), "4:42: schema.backfill.max_lag: expected 0s to 24h, observed 25h"},
		{"backfill: max_wal_mib -5", also("schema: {url_env: U, backfill: {max_wal_mib: -5}}"), "4:46: schema.backfill.max_wal_mib: expected 0 to 1073741824, observed -5"},
		{"backfill: max_lock_waiters -1", also("schema: {url_env: U, backfill: {max_lock_waiters: -1}}"), "4:51: schema.backfill.max_lock_waiters: expected 0 or more, observed -1"},
		{"backfill: max_probe 2m", also("schema: {url_env: U, backfill: {max_probe: 2m}}"), "4:44: schema.backfill.max_probe: expected 0s to 1m, observed 2m"},
		{"backfill: max_connections_percent 101", also("schema: {url_env: U, backfill: {max_connections_percent: 101}}"), "4:58: schema.backfill.max_connections_percent: expected 0 to 100, observed 101"},
		{"a gate for no schema", also("gates: {contract: {comment: admin}}"), "4:19: gates.contract: there is no schema for it; add schema or delete the gate"},
		{"a gate on no phase", also("gates: {rollback: {comment: admin}}"), `4:9: unknown key "rollback" in gates; known here: promote, contract`},
		{"on_cancel", also("on_cancel: stop"), `4:12: on_cancel: expected one of rollback, hold, observed the text "stop"`},
		{"sessions", also("sessions: {}"), ""},
		{"sessions with a token's characters", also("sessions: {cookie: \"!#$%&'*+-.^_`|~aZ09\", keep: 400d}"), ""},
		{"sessions as long as the browser", also("sessions: {keep: 0}"), ""},
		{"a cookie without a name", also(`sessions: {cookie: ""}`), `4:20: sessions.cookie: expected letters, digits and any of !#$%&'*+-.^_` + "`|~" + `, observed ""`},
		{"a cookie with a space", also(`sessions: {cookie: "my session"}`), "4:20: sessions.cookie: expected letters"},
		{"a cookie with a value", also(`sessions: {cookie: "a=b"}`), "4:20: sessions.cookie: expected letters"},
		{"a cookie over two lines", also(`sessions: {cookie: "a\n"}`), "4:20: sessions.cookie: expected letters"},
		{"a cookie in other letters", also(`sessions: {cookie: "büro"}`), "4:20: sessions.cookie: expected letters"},
		{"sessions of no time", also("sessions: {keep: 999ms}"), "4:18: sessions.keep: expected 1s to 9600h, observed 999ms"},
		{"sessions for ever", also("sessions: {keep: 401d}"), "4:18: sessions.keep: expected 1s to 9600h, observed 9624h"},
		{"sessions of a kind", also("sessions: {header: x}"), `4:12: unknown key "header" in sessions; known here: cookie, keep`},

		{"traffic", also("traffic: tcp"), `4:10: traffic: expected one of http, none, observed the text "tcp"`},
	} {
		t.Run(tc.name, func(t *testing.T) { oneFault(t, tc.file, tc.want) })
	}
}

// oneFault reads a file that has the one fault that is wanted, or none.
func oneFault(t *testing.T, file, want string) {
	t.Helper()
	_, err := config.Parse("f", []byte(file))
	if want == "" {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if err == nil || !strings.HasPrefix(err.Error(), "f:"+want) || strings.Contains(err.Error(), "\n") {
		t.Fatalf("want f:%s\n got %v", want, err)
	}
}

// TestSessionsContradictNoTraffic: who takes no traffic has no clients to keep.
func TestSessionsContradictNoTraffic(t *testing.T) {
	_, err := config.Parse("f", []byte("service: a\ntraffic: none\nsessions: {keep: 1h}\n"+
		"target: {local: {agent: \"unix:///s\", command: [\"./{revision}\"], health: /}}\nstrategy: {rolling: {batch: 2}}\n"))
	want := "f:3:11: sessions: contradicts traffic none; delete it, or set traffic to http"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("want %s\n got %v", want, err)
	}
}
