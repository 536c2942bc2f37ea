package rollout_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

var (
	v1 = rollout.Revision{ID: "v1", Spec: strings.Repeat("1", 64)}
	v2 = rollout.Revision{ID: "v2", Spec: strings.Repeat("2", 64)}
)

// written appends data to the record of a rollout, a second between two.
func written(t testing.TB, after rollout.Head, phase rollout.Phase, data ...rollout.Data) rollout.Record {
	t.Helper()
	r := rollout.NewRecord("address-book", "v2-04d1aa")
	for i, d := range data {
		next, err := r.Append(after, start.Add(time.Duration(i)*time.Second), rollout.Writer{Run: "7", Attempt: 1, Actor: "ana"}, phase, d)
		if err != nil {
			t.Fatal(err)
		}
		r = next
	}
	return r
}

func opened() rollout.Opened {
	return rollout.Opened{
		Candidate: v2, Stable: v1, Side: rollout.Green, Strategy: "canary", Target: "local",
		Spec:   rollout.Spec{Revision: v2, Instances: 3, Target: json.RawMessage(`{"command":["a<b>&"]}`)},
		Config: rollout.File{Name: "gapless.yaml", Data: []byte("service: address-book\n")},
	}
}

func short(t testing.TB) rollout.Record {
	return written(t, rollout.Head{}, rollout.Promote, opened(), rollout.Began{To: 10},
		rollout.Launched{Side: rollout.Green, Revision: v2, Instances: 3, Seconds: 1.5},
		rollout.Shifted{To: 10, Decided: start, InForce: start.Add(time.Millisecond)},
		rollout.Judged{Weight: 10, Verdict: "pass", Judgement: json.RawMessage(`{"e": 1e-7}`)})
}

func encoded(t testing.TB, r rollout.Record) []byte {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRecordComesBackAsWritten(t *testing.T) {
	r := short(t)
	data := encoded(t, r)
	got, err := rollout.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Head() != r.Head() || !slices.Equal(encoded(t, got), data) {
		t.Errorf("decoded %+v, want %+v", got.Head(), r.Head())
	}
	want, err := rollout.Fold(r)
	if err != nil {
		t.Fatal(err)
	}
	state, err := rollout.Fold(got)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(state, want) {
		t.Errorf("folded %+v, want %+v", state, want)
	}
}

// Whoever writes may have any name: git takes whatever bytes people give it.
func TestWildNamesKeepTheChain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
		w := rollout.Writer{Run: text.Draw(rt, "run"), Attempt: rapid.Int().Draw(rt, "attempt"), Actor: text.Draw(rt, "actor")}
		r := rollout.NewRecord("s"+text.Draw(rt, "service"), "r"+text.Draw(rt, "rollout"))
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(rt, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(rt, "ns"))
		zone := time.FixedZone("there", rapid.IntRange(-50_000, 50_000).Draw(rt, "offset"))
		for _, d := range []rollout.Data{opened(), rollout.Ended{Outcome: rollout.Done, Reason: text.Draw(rt, "reason")}} {
			next, err := r.Append(rollout.Head{}, at.In(zone), w, rollout.Deploy, d)
			if err != nil {
				rt.Fatal(err)
			}
			r = next
		}
		data, err := r.Encode()
		if err != nil {
			rt.Fatal(err)
		}
		got, err := rollout.Decode(data)
		if err != nil {
			rt.Fatalf("record of %q is not read back: %v", w.Actor, err)
		}
		if got.Head() != r.Head() {
			rt.Fatalf("head %v, want %v", got.Head(), r.Head())
		}
	})
}

// Every single byte counts: there is no change that Decode takes.
func TestChangedByteIsFound(t *testing.T) {
	data := encoded(t, short(t))
	for i := range data {
		changed := slices.Clone(data)
		changed[i] ^= 1 << (i % 8)
		if _, err := rollout.Decode(changed); !errors.Is(err, rollout.ErrBroken) {
			t.Fatalf("byte %d, %q for %q, is taken: %v", i, changed[i], data[i], err)
		}
		if i%16 != 0 && i != len(data)-1 {
			continue
		}
		if _, err := rollout.Decode(data[:i]); !errors.Is(err, rollout.ErrBroken) {
			t.Fatalf("cut off after %d bytes it is taken: %v", i, err)
		}
	}
}

func TestForgedRecords(t *testing.T) {
	text := func(r rollout.Record) string { return string(encoded(t, r)) }
	r := short(t)
	edited := func(edit func(*rollout.Record)) string {
		c := r
		c.Entries = slices.Clone(r.Entries)
		edit(&c)
		return text(c)
	}
	other := written(t, rollout.Head{}, rollout.Promote, opened(), rollout.Began{To: 50})
	for name, data := range map[string]string{
		"nothing":               "",
		"no record":             "[]",
		"null":                  "null\n",
		"another version":       edited(func(r *rollout.Record) { r.Version = 2 }),
		"another service":       edited(func(r *rollout.Record) { r.Service = "billing" }),
		"another rollout":       edited(func(r *rollout.Record) { r.Rollout = "v3-04d1aa" }),
		"no service":            edited(func(r *rollout.Record) { r.Service = "" }),
		"no entries":            edited(func(r *rollout.Record) { r.Entries = nil }),
		"the first is missing":  edited(func(r *rollout.Record) { r.Entries = r.Entries[1:] }),
		"one is missing":        edited(func(r *rollout.Record) { r.Entries = slices.Delete(r.Entries, 2, 3) }),
		"one twice":             edited(func(r *rollout.Record) { r.Entries = slices.Insert(r.Entries, 2, r.Entries[1]) }),
		"two change places":     edited(func(r *rollout.Record) { r.Entries[1], r.Entries[2] = r.Entries[2], r.Entries[1] }),
		"one of another record": edited(func(r *rollout.Record) { r.Entries[1] = other.Entries[1] }),
		"another actor":         edited(func(r *rollout.Record) { r.Entries[1].Actor = "eve" }),
		"another time":          edited(func(r *rollout.Record) { r.Entries[1].At = start.Add(time.Hour) }),
		"another phase":         edited(func(r *rollout.Record) { r.Entries[1].Phase = rollout.Rollback }),
		"an unknown key":        strings.Replace(text(r), `{"version"`, `{"note":"x","version"`, 1),
		"a key twice":           strings.Replace(text(r), `"actor":"ana"`, `"actor":"eve","actor":"ana"`, 1),
		"a key in capitals":     strings.Replace(text(r), `"actor"`, `"ACTOR"`, 1),
		"formatted":             strings.Replace(text(r), `,"entries"`, `, "entries"`, 1),
		"more behind it":        text(r) + "{}\n",
		"too long":              strings.Repeat(" ", rollout.MaxRecordBytes) + text(r),
	} {
		if _, err := rollout.Decode([]byte(data)); !errors.Is(err, rollout.ErrBroken) {
			t.Errorf("%s: %v, want ErrBroken", name, err)
		}
	}
}

func TestAppendLeavesTheRecordAsItWas(t *testing.T) {
	r := short(t)
	before := encoded(t, r)
	left, err := r.Append(rollout.Head{}, start, rollout.Writer{Run: "8"}, rollout.Tick, rollout.Ended{Outcome: rollout.Done})
	if err != nil {
		t.Fatal(err)
	}
	right, err := r.Append(rollout.Head{}, start, rollout.Writer{Run: "9"}, rollout.Tick, rollout.Ended{Outcome: rollout.Stopped})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(encoded(t, r), before) {
		t.Error("appending changed the record it was appended to")
	}
	if left.Verify() != nil || right.Verify() != nil || left.Head() == right.Head() {
		t.Error("two that go on from one record do not stand for themselves")
	}
}

func TestFollows(t *testing.T) {
	first := short(t)
	second := written(t, first.Head(), rollout.Deploy, opened(), rollout.Began{}, rollout.Ended{Outcome: rollout.Done})
	at := func(r rollout.Record, i int) rollout.Head {
		return rollout.Head{Rollout: r.Rollout, Seq: r.Entries[i].Seq, Hash: r.Entries[i].Hash, Run: r.Entries[i].Run}
	}
	forged := at(second, 1)
	forged.Hash = first.Head().Hash
	renamed := at(second, 1)
	renamed.Rollout = "another"
	for name, c := range map[string]struct {
		record rollout.Record
		head   rollout.Head
		want   bool
	}{
		"the first of all follows nothing": {first, rollout.Head{}, true},
		"the next follows the one before":  {second, first.Head(), true},
		"the next does not follow nothing": {second, rollout.Head{}, false},
		"its own entry":                    {second, at(second, 1), true},
		"its own head":                     {second, second.Head(), false},
		"an older one of the rollout past": {second, at(first, 2), false},
		"a hash that never was":            {second, forged, false},
		"another rollout's name":           {second, renamed, false},
		"a later head":                     {first, second.Head(), false},
		"nothing follows nothing":          {rollout.NewRecord("s", "r"), rollout.Head{}, false},
	} {
		if got := c.record.Follows(c.head); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if second.Entries[0].Seq != len(first.Entries)+1 {
		t.Errorf("the next record begins at %d, want %d", second.Entries[0].Seq, len(first.Entries)+1)
	}
}

func FuzzDecode(f *testing.F) {
	whole := encoded(f, short(f))
	f.Add(whole)
	f.Add([]byte(`{"version":1,"service":"s","rollout":"r","entries":[{"seq":1,"kind":"opened","data":null}]}`))
	f.Add([]byte(`{"version":1,"service":"s","rollout":"r","entries":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := rollout.Decode(data)
		if err != nil {
			if !errors.Is(err, rollout.ErrBroken) {
				t.Fatalf("%v does not wrap ErrBroken", err)
			}
			return
		}
		if !slices.Equal(encoded(t, r), data) {
			t.Fatalf("what was decoded is written otherwise: %q", data)
		}
		s, err := rollout.Fold(r)
		if err != nil && !errors.Is(err, rollout.ErrBroken) {
			t.Fatalf("fold: %v does not wrap ErrBroken", err)
		}
		if err == nil && s.Head != r.Head() {
			t.Fatalf("folded head %v, want %v", s.Head, r.Head())
		}
	})
}

// Entries of any content, chained as they must be, never make Fold panic.
func FuzzFold(f *testing.F) {
	f.Add("shifted", `{"from":0,"to":5,"in_force":"2026-03-01T09:00:00Z"}`, "promote")
	f.Add("opened", `{}`, "deploy")
	f.Add("migrated", `{"change":"a","state":"contracted"}`, "contract")
	f.Add("began", `null`, "")
	f.Add("nonsense", `[]`, "x")
	f.Fuzz(func(t *testing.T, kind, data, phase string) {
		if !json.Valid([]byte(data)) {
			return
		}
		r := short(t)
		next, err := r.Append(rollout.Head{}, start, rollout.Writer{}, rollout.Phase(phase), raw{rollout.Kind(kind), json.RawMessage(data)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rollout.Fold(next); err != nil && !errors.Is(err, rollout.ErrBroken) {
			t.Fatalf("%v does not wrap ErrBroken", err)
		}
	})
}

// raw is an entry of any kind and content.
type raw struct {
	kind rollout.Kind
	json.RawMessage
}

func (r raw) Kind() rollout.Kind { return r.kind }
