package rollout

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// RecordVersion is the form of the record that this build writes and reads.
const RecordVersion = 1

// MaxRecordBytes bounds what is decoded: a record embeds up to 256 KiB of
// config and changes, base64 and entries on top.
const MaxRecordBytes = 16 << 20

// Record is the append-only account of one rollout. Each entry holds the hash
// of the one before it, back to the head of the rollout before.
type Record struct {
	Version int     `json:"version"`
	Service string  `json:"service"`
	Rollout string  `json:"rollout"`
	Entries []Entry `json:"entries"`
	// Signatures rise in Seq; not every entry has one of its own.
	Signatures []Signature `json:"signatures,omitempty"`
}

// Entry is one thing that was observed.
type Entry struct {
	// Seq rises by one from entry to entry, over all rollouts of a service.
	Seq   int       `json:"seq"`
	At    time.Time `json:"at"`
	Phase Phase     `json:"phase"`
	Kind  Kind      `json:"kind"`
	// Run and Attempt name the job that wrote the entry.
	Run     string          `json:"run"`
	Attempt int             `json:"attempt"`
	Actor   string          `json:"actor,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Prev    string          `json:"prev,omitempty"`
	Hash    string          `json:"hash"`
}

// Writer is who appends: a job's run, its attempt, and the person behind it.
type Writer struct {
	Run     string
	Attempt int
	Actor   string
}

// NewRecord begins the record of a rollout. after is the head of the rollout
// before, zero for the first.
func NewRecord(service, rollout string) Record {
	return Record{Version: RecordVersion, Service: readable(service), Rollout: readable(rollout)}
}

// Append returns r with one more entry, chained to the last one or, in an
// empty record, to after. r itself is not changed.
func (r Record) Append(after Head, at time.Time, w Writer, phase Phase, data Data) (Record, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return r, fmt.Errorf("record %s: write %s: %w", r.Rollout, data.Kind(), err)
	}
	prev := after
	if n := len(r.Entries); n > 0 {
		prev = r.Head()
	}
	e := Entry{
		Seq: prev.Seq + 1, At: at.UTC().Truncate(time.Millisecond), Phase: phase, Kind: data.Kind(),
		Run: readable(w.Run), Attempt: w.Attempt, Actor: readable(w.Actor), Data: raw, Prev: prev.Hash,
	}
	if e.Hash, err = r.digest(e); err != nil {
		return r, err
	}
	entries := make([]Entry, len(r.Entries), len(r.Entries)+1)
	copy(entries, r.Entries)
	r.Entries = append(entries, e)
	return r, nil
}

// Head names the newest entry; zero for an empty record.
func (r Record) Head() Head {
	if len(r.Entries) == 0 {
		return Head{}
	}
	return r.headAt(r.Entries[len(r.Entries)-1])
}

func (r Record) headAt(e Entry) Head {
	return Head{Rollout: r.Rollout, Seq: e.Seq, Hash: e.Hash, Run: e.Run}
}

// Follows reports whether r goes on from head: head names one of its entries
// before the last, or the end of the rollout before it. The first record of a
// service follows the zero head.
func (r Record) Follows(head Head) bool {
	if len(r.Entries) == 0 {
		return false
	}
	if first := r.Entries[0]; first.Seq == head.Seq+1 {
		return first.Prev == head.Hash
	}
	for _, e := range r.Entries[:len(r.Entries)-1] {
		if r.headAt(e) == head {
			return true
		}
	}
	return false
}

// Verify checks the version, the names and the chain. The error wraps
// ErrBroken and names the first entry that does not hold.
func (r Record) Verify() error {
	if r.Version != RecordVersion {
		return fmt.Errorf("%w: version %d, this build reads %d", ErrBroken, r.Version, RecordVersion)
	}
	if r.Service == "" || r.Rollout == "" || len(r.Entries) == 0 {
		return fmt.Errorf("%w: service, rollout or entries are missing", ErrBroken)
	}
	for i, e := range r.Entries {
		want, err := r.digest(e)
		if err != nil {
			return err
		}
		if e.Hash != want {
			return fmt.Errorf("%w: entry %d was changed after it was written", ErrBroken, e.Seq)
		}
		if i == 0 {
			if e.Seq < 1 || e.Kind != KindOpened && e.Kind != KindAdopted {
				return fmt.Errorf("%w: entry %d of kind %s cannot be the first", ErrBroken, e.Seq, e.Kind)
			}
			continue
		}
		if before := r.Entries[i-1]; e.Prev != before.Hash || e.Seq != before.Seq+1 {
			return fmt.Errorf("%w: entry %d does not follow entry %d", ErrBroken, e.Seq, before.Seq)
		}
	}
	return r.signaturesFit()
}

// Decode reads and verifies a record. What Encode would not have written (an
// unknown or repeated key, say) is refused, so that no byte can be changed
// unseen. Its errors wrap ErrBroken.
func Decode(data []byte) (Record, error) {
	if len(data) > MaxRecordBytes {
		return Record{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrBroken, len(data), MaxRecordBytes)
	}
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if err := r.Verify(); err != nil {
		return Record{}, err
	}
	again, err := r.Encode()
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if !bytes.Equal(again, data) {
		return Record{}, fmt.Errorf("%w: it holds more than its entries, or was formatted anew", ErrBroken)
	}
	return r, nil
}

// Encode writes the record for a store, one line that Decode reads.
func (r Record) Encode() ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("record %s: encode: %w", r.Rollout, err)
	}
	return append(data, '\n'), nil
}

// digest is the hex SHA-256 of the entry's JSON without its own hash, together
// with the names of the record, so that no entry passes for another service's.
func (r Record) digest(e Entry) (string, error) {
	e.Hash = ""
	data, err := json.Marshal(struct {
		Service string `json:"service"`
		Rollout string `json:"rollout"`
		Entry   Entry  `json:"entry"`
	}{r.Service, r.Rollout, e})
	if err != nil {
		return "", fmt.Errorf("%w: entry %d: %w", ErrBroken, e.Seq, err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// readable replaces what is no UTF-8, as JSON would: text that changes on its
// way through a store would break the chain.
func readable(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
