package rollout

import "time"

// Mark is what gapless stamps on the platform itself, by compare-and-set. It
// is enough for a rollback, and it is the lock.
type Mark struct {
	Service string `json:"service"`
	Rollout string `json:"rollout,omitempty"`
	// Stable is what a rollback returns to; zero before the first release.
	Stable     Revision `json:"stable"`
	StableSide Side     `json:"stable_side,omitempty"`
	// Candidate is zero when no rollout stands.
	Candidate     Revision `json:"candidate"`
	CandidateSide Side     `json:"candidate_side,omitempty"`
	// Strategy is how the candidate takes over, and so how it is taken back.
	Strategy Strategy `json:"strategy,omitempty"`
	Head     Head     `json:"head"`
	// Back is set from the decision to go back until nothing is left of the
	// candidate; then going on with it is the only way.
	Back *GoingBack `json:"back,omitempty"`
	// Gates are in force for the rollout, and for a next one whose record is
	// lost.
	Gates Gates `json:"gates"`
	// Epoch counts rollbacks and holds; a phase begun under a lower one stops.
	Epoch int    `json:"epoch"`
	Lease *Lease `json:"lease,omitempty"`
}

// GoingBack says why traffic goes back to stable, and from which weight.
type GoingBack struct {
	Reason  string    `json:"reason"`
	From    Weight    `json:"from"`
	Decided time.Time `json:"decided"`
}

// Without gives the mark as it is once the candidate is gone.
func (m Mark) Without() Mark {
	m.Candidate, m.CandidateSide, m.Strategy, m.Back = Revision{}, "", "", nil
	return m
}

// Head names the newest entry of the true record.
type Head struct {
	Rollout string `json:"rollout,omitempty"`
	Seq     int    `json:"seq"`
	Hash    string `json:"hash,omitempty"`
	// Run wrote the entry; a store may keep the record with it.
	Run string `json:"run,omitempty"`
}

// Zero reports whether h names nothing.
func (h Head) Zero() bool { return h == Head{} }

// Lease says who works on the service now. It lapses by itself, so that a
// killed phase does not lock the others out.
type Lease struct {
	Holder string    `json:"holder"`
	Phase  Phase     `json:"phase"`
	Until  time.Time `json:"until"`
}

// HeldBy reports whether m's lease is holder's, lapsed or not.
func (m *Mark) HeldBy(holder string) bool {
	return m != nil && m.Lease != nil && m.Lease.Holder == holder
}

// Busy reports whether somebody other than holder works at time now.
func (m *Mark) Busy(holder string, now time.Time) bool {
	return m != nil && m.Lease != nil && m.Lease.Holder != holder && now.Before(m.Lease.Until)
}

// Journalled is where a phase stands, as the machine that it runs on keeps it.
type Journalled struct {
	// Holder has the lease.
	Holder string `json:"holder"`
	// Head is in force; Record goes on from it.
	Head   Head   `json:"head"`
	Record Record `json:"record"`
}
