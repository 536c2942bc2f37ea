// Package seal vouches for records: by the OIDC token of the job that writes,
// or by a key that the writers share.
//
// A signature is made over the hash of one entry, which covers all before it.
// Each entry is vouched for by the first signature at or after it.
package seal

import (
	"context"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Options are what the run has to sign and to check with. A record has to be
// signed throughout by what is given here.
type Options struct {
	// Tokens checks by OIDC and, without a key, signs by it; nil where there is
	// no issuer that is trusted.
	Tokens *Tokens
	// Key signs in the place of tokens. It has at least MinKey bytes.
	Key []byte
	// Previous is the key before it, by which signatures are still checked.
	Previous []byte
}

// Tokens is where tokens come from and what they must say.
type Tokens struct {
	Source   *oidc.Source
	Verifier *oidc.Verifier
	// RepositoryID is the numeric id of the repository whose jobs may write.
	RepositoryID string
	// Refs are those whose jobs may write, in full ("refs/heads/main").
	Refs []string
}

// Seal signs records and checks their signatures.
type Seal struct {
	tokens *Tokens
	// keys are the present one, which signs, and then the previous one.
	keys []key
}

// New gives a seal. A key that is too short is an error, and so is to offer
// neither tokens nor a key; both wrap rollout.ErrInput.
func New(o Options) (*Seal, error) {
	s := &Seal{tokens: o.Tokens}
	if len(o.Key) == 0 && len(o.Previous) > 0 {
		return nil, fmt.Errorf("%w: there is a previous record-key but no present one", rollout.ErrInput)
	}
	for _, secret := range [][]byte{o.Key, o.Previous} {
		if len(secret) == 0 {
			continue
		}
		k, err := newKey(secret)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, k)
	}
	if s.tokens == nil && len(s.keys) == 0 {
		return nil, fmt.Errorf("%w: there is neither an OIDC issuer nor a record-key to sign with", rollout.ErrInput)
	}
	return s, nil
}

// Error is why a record is not taken, or not signed.
type Error struct {
	err  error
	hint string
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Hint says what to do; it may be empty.
func (e *Error) Hint() string { return e.hint }

func fault(hint, format string, args ...any) *Error {
	return &Error{err: fmt.Errorf(format, args...), hint: hint}
}

// broken makes an error of a record out of what was found wrong with it.
func broken(err error) error {
	if err == nil || errors.Is(err, rollout.ErrBroken) {
		return err
	}
	hint := ""
	if e, ok := errors.AsType[*Error](err); ok {
		hint = e.hint
	}
	return &Error{err: fmt.Errorf("%w: %w", rollout.ErrBroken, err), hint: hint}
}

const adopt = "gapless adopt begins the record anew, from what the platform shows to serve"

// Sign signs the newest entry, by the key where there is one and else by a
// token. What Verify would refuse is not signed: the job then has to be another
// one, and its record stays as it is.
func (s *Seal) Sign(ctx context.Context, record rollout.Record) (rollout.Signature, error) {
	head := record.Head()
	if head.Zero() {
		return rollout.Signature{}, fmt.Errorf("%w: record %s has no entry to sign", rollout.ErrInput, record.Rollout)
	}
	signature := rollout.Signature{Seq: head.Seq, Hash: head.Hash}
	own := cover{shared: true}
	if len(s.keys) > 0 {
		signature.Method, signature.Key, signature.Value = rollout.SignedByKey, s.keys[0].id, s.keys[0].mac(record, head.Hash)
	} else {
		token, claims, err := s.tokens.sign(ctx, record)
		if err != nil {
			return rollout.Signature{}, fmt.Errorf("sign record %s: %w", record.Rollout, err)
		}
		signature.Method, signature.Value = rollout.SignedByToken, token
		own = coverOf(claims)
	}
	if err := s.signable(record.Sign(signature), own); err != nil {
		return rollout.Signature{}, fmt.Errorf("sign record %s: %w", record.Rollout, err)
	}
	return signature, nil
}

// signable checks what the newest signature of a record vouches for. What is
// before was checked when the record was loaded.
func (s *Seal) signable(record rollout.Record, own cover) error {
	covers := make([]cover, 0, len(record.Entries))
	before := 0
	if n := len(record.Signatures); n > 1 {
		before = record.Signatures[n-2].Seq
	}
	for _, e := range record.Entries {
		if e.Seq <= before {
			covers = append(covers, cover{shared: true})
			continue
		}
		if err := own.wrote(e); err != nil {
			return err
		}
		covers = append(covers, own)
	}
	return gated(record, covers)
}

// Verify checks a whole record: its chain, every signature, that each entry is
// vouched for by the run that it says to be written in, and that no gate was
// passed by. Its errors wrap rollout.ErrBroken where that does not hold; others
// say that it could not be found out.
func (s *Seal) Verify(ctx context.Context, record rollout.Record) error {
	if err := record.Verify(); err != nil {
		return err
	}
	if !record.Signed() {
		return broken(fault(adopt, "its newest entry, %d, is not signed", record.Head().Seq))
	}
	var covers []cover
	for i, signature := range record.Signatures {
		last := i == len(record.Signatures)-1
		entry := record.Entries[signature.Seq-record.Entries[0].Seq]
		c, err := s.check(ctx, record, signature, entry)
		if errors.Is(err, oidc.ErrUnknownKey) && !last {
			err = nil // whoever appended after it, and is known, has checked it
		}
		if err != nil {
			return s.refuse(signature, err)
		}
		for len(covers) < len(record.Entries) && record.Entries[len(covers)].Seq <= signature.Seq {
			if err := c.wrote(record.Entries[len(covers)]); err != nil {
				return broken(err)
			}
			covers = append(covers, c)
		}
	}
	return broken(gated(record, covers))
}

// check checks one signature. Beside oidc.ErrUnknownKey the cover is what the
// token says, unproven.
func (s *Seal) check(ctx context.Context, record rollout.Record, signature rollout.Signature, entry rollout.Entry) (cover, error) {
	switch {
	case signature.Method == rollout.SignedByKey:
		return cover{shared: true}, s.checkKey(record, signature)
	case signature.Method != rollout.SignedByToken:
		return cover{}, fault("", "%q is no way to sign that is known here", signature.Method)
	case s.tokens == nil:
		return cover{}, fault(adopt, "it is signed by a token, and there is no issuer to check it by here")
	}
	claims, err := s.tokens.check(ctx, signature, entry)
	return coverOf(claims), err
}

// refuse tells a signature that does not hold from one that could not be
// checked.
func (s *Seal) refuse(signature rollout.Signature, err error) error {
	unknown := errors.Is(err, oidc.ErrUnknownKey)
	own := errors.As(err, new(*Error))
	if !unknown && !own && !errors.Is(err, oidc.ErrInvalid) {
		return fmt.Errorf("check the signature over entry %d: %w", signature.Seq, err)
	}
	hint := ""
	if e, ok := errors.AsType[*Error](err); ok {
		hint = e.hint
	}
	if unknown {
		hint = "GitHub has replaced the key since; " + adopt
	}
	return broken(fault(hint, "the signature over entry %d: %w", signature.Seq, err))
}
