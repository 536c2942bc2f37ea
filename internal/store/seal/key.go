package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// MinKey is the least length of a key, in bytes.
const MinKey = 32

// What a key is used for, so that no value made for the one passes for the
// other.
const (
	forSignature = "gapless record signature 1"
	forID        = "gapless record key id 1"
)

// idLength is how many hex digits name a key.
const idLength = 8

// key is shared by all who may write a record.
type key struct {
	id     string
	secret []byte
}

func newKey(secret []byte) (key, error) {
	if len(secret) < MinKey {
		return key{}, fmt.Errorf("%w: the record-key has %d bytes, at least %d are needed (openssl rand -hex 32 makes one)",
			rollout.ErrInput, len(secret), MinKey)
	}
	sum := sha256.Sum256(digest(secret, forID))
	return key{id: hex.EncodeToString(sum[:])[:idLength], secret: secret}, nil
}

// mac is the signature over an entry's hash.
func (k key) mac(record rollout.Record, hash string) string {
	return hex.EncodeToString(digest(k.secret, forSignature, record.Service, record.Rollout, hash))
}

// digest is the HMAC of texts, each with its length before it.
func digest(secret []byte, texts ...string) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, text := range texts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		mac.Write(length[:])
		mac.Write([]byte(text))
	}
	return mac.Sum(nil)
}

func (s *Seal) checkKey(record rollout.Record, signature rollout.Signature) error {
	if len(s.keys) == 0 {
		return fault("give the record-key that the rollout was begun with; "+adopt, "it is signed by record-key %s, and none is given here", signature.Key)
	}
	for _, k := range s.keys {
		if k.id != signature.Key {
			continue
		}
		if !hmac.Equal([]byte(k.mac(record, signature.Hash)), []byte(signature.Value)) {
			return fault("", "it was not made by record-key %s", signature.Key)
		}
		return nil
	}
	return fault("give the key before as record-key-previous until the rollout has settled; "+adopt,
		"it is signed by record-key %s, given here are %s", signature.Key, s.ids())
}

func (s *Seal) ids() string {
	ids := s.keys[0].id
	if len(s.keys) > 1 {
		ids += " and " + s.keys[1].id
	}
	return ids
}
