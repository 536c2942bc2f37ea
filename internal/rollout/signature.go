package rollout

import "fmt"

// Signature says who vouches for a record up to one of its entries. It stands
// beside the chain, not in it: it is made over the entry's hash, which covers
// all before it.
type Signature struct {
	// Seq and Hash name the entry, the newest when it was signed.
	Seq  int    `json:"seq"`
	Hash string `json:"hash"`
	// Method says how Value is checked; Key names the key where there is more
	// than one.
	Method SignatureMethod `json:"method"`
	Key    string          `json:"key,omitempty"`
	Value  string          `json:"value"`
}

// SignatureMethod is a way to sign.
type SignatureMethod string

// The ways to sign.
const (
	// SignedByToken: Value is an OIDC token whose audience names Hash; its
	// claims say which job wrote the entries.
	SignedByToken SignatureMethod = "oidc"
	// SignedByKey: Value is an HMAC with a key that the writers share.
	SignedByKey SignatureMethod = "hmac"
)

// Sign returns r with one more signature, over its newest entry. r itself is
// not changed.
func (r Record) Sign(s Signature) Record {
	signatures := make([]Signature, len(r.Signatures), len(r.Signatures)+1)
	copy(signatures, r.Signatures)
	r.Signatures = append(signatures, s)
	return r
}

// Signed reports whether the newest entry is signed.
func (r Record) Signed() bool {
	n := len(r.Signatures)
	return n > 0 && r.Signatures[n-1].Seq == r.Head().Seq
}

// signaturesFit checks that each signature is over an entry of the record, and
// that they rise. Whether they are genuine is checked by who holds the keys.
func (r Record) signaturesFit() error {
	last := 0
	for _, s := range r.Signatures {
		i := s.Seq - r.Entries[0].Seq
		if s.Seq <= last || i < 0 || i >= len(r.Entries) || r.Entries[i].Hash != s.Hash {
			return fmt.Errorf("%w: the signature over entry %d is not over an entry of the record", ErrBroken, s.Seq)
		}
		last = s.Seq
	}
	return nil
}
