package config_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// TestParseReadsWhatWasWritten: any valid config, written out as YAML with every
// key, is read back unchanged, and an editor that goes by the schema has nothing
// against it.
func TestParseReadsWhatWasWritten(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../gapless.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		want := valid(t)
		text := written(t, want)
		got, err := config.Parse("gapless.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(want, got, ignoreSource); diff != "" {
			t.Fatalf("%s\n%s", diff, text)
		}
		asJSON, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatalf("%v\n%s", err, asJSON)
		}
		if err := schema.Validate(value); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// written has the keys of the file in any order, each in block or flow style.
func written(t *rapid.T, c *config.Config) string {
	entries := pairs(reflect.ValueOf(c).Elem())
	lines := make([]string, len(entries))
	for i, e := range entries {
		value := flow(e.value)
		if inner := entriesOf(e.value); len(inner) > 0 && rapid.Bool().Draw(t, "block") {
			value = ""
			for _, in := range inner {
				value += "\n  " + in.key + ": " + flow(in.value)
			}
		}
		lines[i] = e.key + ": " + value + rapid.SampledFrom([]string{"\n", " # why\n", "\n\n", "\r\n"}).Draw(t, "end")
	}
	return strings.Join(rapid.Permutation(lines).Draw(t, "order"), "")
}

type pair struct {
	key   string
	value reflect.Value
}

func entriesOf(v reflect.Value) []pair {
	v = reflect.Indirect(v)
	if v.Kind() == reflect.Struct {
		return pairs(v)
	}
	return nil
}

func pairs(v reflect.Value) []pair {
	var entries []pair
	for _, f := range reflect.VisibleFields(v.Type()) {
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		value := v.FieldByIndex(f.Index[:1])
		for _, i := range f.Index[1:] {
			value = value.Field(i)
		}
		// What a file cannot say, or says by leaving it out.
		if key == "" || (value.IsZero() && value.Type() != reflect.TypeFor[time.Duration]()) {
			continue
		}
		if g, ok := reflect.TypeAssert[config.Gates](value); ok && g == (config.Gates{}) {
			continue
		}
		entries = append(entries, pair{key, value})
	}
	return entries
}

func flow(v reflect.Value) string {
	v = reflect.Indirect(v)
	switch x := v.Interface().(type) {
	case time.Duration:
		return document.FormatDuration(x)
	case rollout.Weight:
		return strings.TrimSuffix(x.String(), "%")
	case config.Points:
		return x.String()
	case config.Batch:
		return x.String()
	}
	var parts []string
	switch v.Kind() {
	case reflect.Struct:
		for _, e := range pairs(v) {
			parts = append(parts, e.key+": "+flow(e.value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case reflect.Slice:
		for i := range v.Len() {
			parts = append(parts, flow(v.Index(i)))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		for _, key := range v.MapKeys() {
			parts = append(parts, key.String()+": "+flow(v.MapIndex(key)))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		data, err := json.Marshal(v.Interface())
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
}

// valid draws any config that this build accepts.
func valid(t *rapid.T) *config.Config {
	between := func(name string, least, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least/time.Millisecond), int64(most/time.Millisecond)).Draw(t, name)) * time.Millisecond
	}
	ratio := func(name string) float64 {
		return 1 + float64(rapid.IntRange(1, 9000).Draw(t, name))/1000
	}
	points := func(name string) config.Points {
		return config.Points(float64(rapid.IntRange(1, 100_000).Draw(t, name)) / 1000)
	}
	name := rapid.StringMatching(`[A-Z_][A-Z0-9_]{0,8}`)
	text := rapid.StringMatching(`[a-zA-Z0-9 :#'"\\,\[\]é漢🙂&*!%-]{0,20}`)
	path := rapid.Custom(func(t *rapid.T) config.Path {
		return config.Path("/" + rapid.StringMatching(`[a-zA-Z0-9?&=_.~:-]{0,12}(%[0-9A-F]{2})?(\{[1-4]\.\.[5-9]\})?`).Draw(t, "path"))
	})
	page := rapid.StringMatching(`https?://[a-z]{1,8}(\.[a-z]{1,8})?(:[1-9][0-9]{0,3})?(/[a-z0-9?&=]{0,8})?`)
	c := &config.Config{
		Service: rapid.StringMatching(`[a-z]([a-z0-9-]{0,20}[a-z0-9])?`).Draw(t, "service"),
		Target: config.Target{Local: &config.Local{
			Agent:    rapid.SampledFrom([]string{"http://127.0.0.1:7070", "http://[::1]:1", "https://172.17.0.1:7071", "unix:///run/gapless.sock"}).Draw(t, "agent"),
			TokenEnv: name.Draw(t, "token_env"), CAEnv: name.Draw(t, "ca_env"), PortEnv: "p" + name.Draw(t, "port_env"),
			Command:   append([]string{"./{revision}"}, rapid.SliceOfN(text, 0, 3).Draw(t, "arguments")...),
			Dir:       text.Draw(t, "dir"),
			Env:       rapid.MapOfN(name, text, 0, 3).Draw(t, "env"),
			Instances: rapid.IntRange(1, 100).Draw(t, "instances"), Health: path.Draw(t, "health"),
		}},
		Traffic:     config.TrafficHTTP,
		ReadyWithin: between("ready_within", time.Second, time.Hour), Drain: between("drain", 0, time.Hour),
		RollbackWindow: between("rollback_window", 0, 90*24*time.Hour),
		AbandonAfter:   between("abandon_after", time.Second, 90*24*time.Hour),
		Judge: config.Judge{
			Errors:      config.Errors{WorseBy: points("errors.worse_by"), Ratio: ratio("errors.ratio")},
			Slow:        config.Slow{Over: between("over", time.Millisecond, 10*time.Minute), WorseBy: points("slow.worse_by"), Ratio: ratio("slow.ratio")},
			CPU:         config.Excess{Ratio: ratio("cpu.ratio")},
			Memory:      config.Excess{Ratio: ratio("memory.ratio")},
			MinRequests: rapid.IntRange(1, 1_000_000).Draw(t, "min_requests"),
		},
		OnCancel: rapid.SampledFrom([]config.OnCancel{config.CancelRollback, config.CancelHold}).Draw(t, "on_cancel"),
	}
	if len(c.Target.Local.Env) == 0 {
		c.Target.Local.Env = nil
	}
	bake := between("bake", 2*time.Second, 5*time.Hour)
	watch := config.Watch{Bake: bake, BakeLimit: between("bake_limit", bake, 5*time.Hour), Settle: between("settle", 0, bake-time.Millisecond)}
	switch rapid.SampledFrom([]rollout.Strategy{rollout.Canary, rollout.BlueGreen, rollout.Rolling}).Draw(t, "strategy") {
	case rollout.Canary:
		c.Strategy.Canary = &config.Canary{Steps: steps(t), Watch: watch}
	case rollout.BlueGreen:
		c.Strategy.BlueGreen = &config.BlueGreen{Watch: watch}
	case rollout.Rolling:
		c.Strategy.Rolling = &config.Rolling{
			Batch: batch(t), Watch: watch,
			OnFailure: rapid.SampledFrom([]config.OnFailure{config.FailureStop, config.FailureRollback}).Draw(t, "on_failure"),
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "smokes") {
		c.Smoke = append(c.Smoke, config.Smoke{Get: path.Draw(t, "get"), Status: rapid.IntRange(100, 599).Draw(t, "status"), Contains: text.Draw(t, "contains")})
		c.Warmup = append(c.Warmup, config.Warmup{Get: path.Draw(t, "get")})
	}
	if rapid.Bool().Draw(t, "probe") {
		c.Probe = &config.Probe{URL: page.Draw(t, "url"), Every: between("every", 10*time.Millisecond, time.Minute)}
	}
	if rapid.Bool().Draw(t, "sessions") {
		c.Sessions = &config.Sessions{Cookie: rapid.StringMatching("[-!#$%&'*+.^_`|~0-9A-Za-z]{1,12}").Draw(t, "cookie")}
		if rapid.Bool().Draw(t, "kept") {
			c.Sessions.Keep = between("keep", time.Second, 400*24*time.Hour)
		}
	}
	if rapid.Bool().Draw(t, "schema") {
		c.Schema = &config.Schema{URLEnv: name.Draw(t, "url_env"), Backfill: config.Backfill{
			Workers: rapid.IntRange(1, 32).Draw(t, "workers"), MaxRate: rapid.IntRange(0, 1_000_000).Draw(t, "max_rate"),
			BatchTarget: between("batch_target", 10*time.Millisecond, 5*time.Second), MaxLag: between("max_lag", time.Millisecond, 24*time.Hour),
			MaxWAL: rapid.IntRange(1, 1<<20).Draw(t, "max_wal_mib"), MaxLockWaiters: rapid.IntRange(1, 100).Draw(t, "max_lock_waiters"),
			MaxProbe: between("max_probe", time.Millisecond, time.Minute), MaxConnections: rapid.IntRange(1, 100).Draw(t, "max_connections_percent"),
			IgnoreVacuum: rapid.Bool().Draw(t, "ignore_vacuum"),
		}}
		changes := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}(/[a-z0-9]{1,3})?\.yaml`), 0, 4, rapid.ID[string]).Draw(t, "changes")
		if len(changes) > 0 {
			c.Schema.Changes = changes
		}
		c.Gates.Contract = &config.Gate{Comment: rapid.SampledFrom([]config.Permission{"write", "maintain", "admin"}).Draw(t, "permission")}
	}
	if rapid.Bool().Draw(t, "gate") {
		c.Gates.Promote = &config.Gate{Environment: "e" + text.Draw(t, "environment")}
	}
	return c
}

func batch(t *rapid.T) config.Batch {
	if rapid.Bool().Draw(t, "share") {
		return config.Batch{Share: rollout.Weight(rapid.IntRange(1, 1000).Draw(t, "batch"))}
	}
	return config.Batch{Count: rapid.IntRange(1, 100).Draw(t, "batch")}
}

func steps(t *rapid.T) []rollout.Weight {
	below := rapid.MapOfN(rapid.IntRange(1, 999), rapid.Just(true), 0, 8).Draw(t, "steps")
	steps := []rollout.Weight{}
	for _, tenths := range slices.Sorted(maps.Keys(below)) {
		steps = append(steps, rollout.Weight(tenths))
	}
	return append(steps, rollout.Full)
}

// FuzzParse: whatever the bytes, reading ends in a config that keeps the
// promises or in faults that lie inside the file.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/gapless.yaml", "testdata/faults.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(least))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if err != nil {
			inside(t, data, document.FaultsOf(err))
			return
		}
		if c.Strategy.Kind() == "" || c.Target.Kind() != "local" {
			t.Fatalf("this build does not run target %s, strategy %s", c.Target.Kind(), c.Strategy.Kind())
		}
		weights := c.Strategy.Weights(c.Target.Local.Instances)
		if last := weights[len(weights)-1]; last != rollout.Full || !slices.IsSorted(weights) || weights[0] <= 0 {
			t.Fatalf("weights %v", weights)
		}
		if w := c.Strategy.Watching(); w.Settle >= w.Bake || w.Bake > w.BakeLimit || w.BakeLimit > 5*time.Hour {
			t.Fatalf("watch %+v", w)
		}
		if _, err := c.Spec("1.0"); err != nil {
			t.Fatal(err)
		}
	})
}

func inside(t *testing.T, data []byte, faults document.Faults) {
	t.Helper()
	if len(faults) == 0 {
		t.Fatal("neither a config nor a fault")
	}
	lines := bytes.Split(data, []byte("\n"))
	for _, fault := range faults {
		if fault.Line < 1 || fault.Line > len(lines) || fault.Column < 1 || fault.Column > utf8.RuneCount(lines[fault.Line-1])+1 {
			t.Fatalf("outside the file: %v", fault)
		}
	}
}
