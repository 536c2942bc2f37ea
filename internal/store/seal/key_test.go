package seal_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/seal"
)

var (
	first  = bytes.Repeat([]byte("a"), seal.MinKey)
	second = bytes.Repeat([]byte("b"), seal.MinKey)
	third  = bytes.Repeat([]byte("c"), seal.MinKey)
)

// byKey gives the record of a rollout that was let through, signed by a key.
func byKey(s *stage, o seal.Options) rollout.Record {
	s.t.Helper()
	job := s.job("")
	return s.signed(s.appended(rollout.Record{}, job, append(started(opened()), promoted()...)...), newSeal(s.t, o))
}

func TestSignedByKey(t *testing.T) {
	s := newStage(t)
	r := byKey(s, seal.Options{Key: first})
	if got := r.Signatures[0]; got.Method != rollout.SignedByKey || len(got.Key) != 8 || strings.Contains(got.Value, string(first)) {
		t.Errorf("signature %+v", got)
	}
	takenBy(t, newSeal(t, seal.Options{Key: first}), r, "by the same key")
	takenBy(t, newSeal(t, seal.Options{Key: second, Previous: first}), r, "by the next key's holder")

	both := newSeal(t, seal.Options{Key: second, Previous: first})
	later := s.signed(s.appended(r, s.job(""), entry{rollout.Tick, rollout.Began{}}), both)
	if later.Signatures[1].Key == later.Signatures[0].Key {
		t.Error("signed by the previous key")
	}
	takenBy(t, both, later, "by one key after the other")

	refusedBy(t, newSeal(t, seal.Options{Key: third, Previous: second}), r, "by a key that is not known", "signed by record-key")
	refusedBy(t, newSeal(t, seal.Options{Key: third, Previous: second}), later, "begun by a key that is not known", "signed by record-key")
}

func TestForgedByKey(t *testing.T) {
	s := newStage(t)
	own := newSeal(t, seal.Options{Key: first})
	r := byKey(s, seal.Options{Key: first})

	guessed := r
	guessed.Signatures = byKey(s, seal.Options{Key: second}).Signatures
	guessed.Signatures[0].Key = r.Signatures[0].Key
	refusedBy(t, own, guessed, "by another key under its name", "not made by record-key")

	empty := r
	empty.Signatures = []rollout.Signature{r.Signatures[0]}
	empty.Signatures[0].Value = ""
	refusedBy(t, own, empty, "without a value", "not made by record-key")

	// The same entries in another service's record have other hashes; the value
	// does not fit those either.
	other := rollout.NewRecord("billing", r.Rollout)
	for _, e := range r.Entries {
		data, err := e.Decode()
		if err != nil {
			t.Fatal(err)
		}
		w := rollout.Writer{Run: e.Run, Attempt: e.Attempt, Actor: e.Actor}
		if other, err = other.Append(rollout.Head{}, e.At, w, e.Phase, data); err != nil {
			t.Fatal(err)
		}
	}
	moved := other.Sign(rollout.Signature{
		Seq: other.Head().Seq, Hash: other.Head().Hash, Method: rollout.SignedByKey, Key: r.Signatures[0].Key, Value: r.Signatures[0].Value,
	})
	refusedBy(t, own, moved, "with another service's signature", "not made by record-key")

	stripped := r
	stripped.Signatures = nil
	refusedBy(t, own, stripped, "without a signature", "not signed")

	grown := s.appended(r, s.job(""), entry{rollout.Tick, rollout.Began{}})
	refusedBy(t, own, grown, "with an entry more", "not signed")

	passing := s.appended(r, s.job(""), entry{rollout.Promote, rollout.Shifted{To: 250}})
	if _, err := own.Sign(t.Context(), passing); err == nil || errors.Is(err, rollout.ErrBroken) {
		t.Errorf("signed what passes by a gate: %v", err)
	}
}

// Who has no key does not take what a key signed for checked, nor the other way
// round: the way to sign is not for the record to choose.
func TestNoDowngrade(t *testing.T) {
	s := newStage(t)
	tokens, keyed := s.standing(opened()), byKey(s, seal.Options{Key: first})
	refusedBy(t, s.seal(nil), keyed, "a key's signature, read without a key", "none is given here")
	refusedBy(t, newSeal(t, seal.Options{Key: first}), tokens, "a token's, read without an issuer", "no issuer")

	mixed := newSeal(t, seal.Options{Key: first, Tokens: s.tokens(nil)})
	takenBy(t, mixed, tokens, "a token's, read with an issuer and a key")
	job := s.job("")
	later := s.signed(s.appended(tokens, job, entry{rollout.Tick, rollout.Began{}}), mixed)
	if later.Signatures[1].Method != rollout.SignedByKey {
		t.Errorf("signed by %s where there is a key", later.Signatures[1].Method)
	}
	takenBy(t, mixed, later, "begun with tokens, gone on with a key")

	unsigned := s.appended(tokens, job, entry{rollout.Tick, rollout.Began{}})
	refusedBy(t, mixed, unsigned, "with an unsigned entry at its end", "not signed")
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]seal.Options{
		"nothing":               {},
		"a short key":           {Key: first[1:]},
		"a short previous key":  {Key: first, Previous: second[1:]},
		"only the previous key": {Previous: first},
	} {
		_, err := seal.New(o)
		if !errors.Is(err, rollout.ErrInput) {
			t.Errorf("%s: %v, want %v", name, err, rollout.ErrInput)
		}
		if err != nil && strings.Contains(err.Error(), "aaaa") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
}

func TestNothingToSign(t *testing.T) {
	_, err := newSeal(t, seal.Options{Key: first}).Sign(t.Context(), rollout.NewRecord("address-book", "v2"))
	if !errors.Is(err, rollout.ErrInput) {
		t.Errorf("signed an empty record: %v", err)
	}
}
