package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
)

// Revision names one version of a service together with the digest of its
// whole specification, so that a release of new settings alone is a new
// revision too.
type Revision struct {
	// ID is what people call it: an image digest or a version.
	ID string `json:"id"`
	// Spec is the hex SHA-256 of everything an instance is started from, and of
	// how many there are.
	Spec string `json:"spec"`
}

// String gives the revision as people read it; two revisions of one ID are
// told apart by the first digits of their specification.
func (r Revision) String() string {
	if r.ID == "" {
		return "none"
	}
	return r.ID
}

// Zero reports whether r names nothing.
func (r Revision) Zero() bool { return r == Revision{} }

// revisionID is what may stand in paths, labels and comments without escaping.
var revisionID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}$`)

// ParseRevisionID returns id when it can be used as a revision's name:
// letters, digits and ._@:+- , 1 to 128 of them, and no path step.
func ParseRevisionID(id string) (string, error) {
	if !revisionID.MatchString(id) {
		return "", fmt.Errorf("revision %q: allowed are 1 to 128 letters, digits and ._@:+- , the first a letter or digit", id)
	}
	return id, nil
}

// Spec is all that a platform needs to start instances of one revision.
type Spec struct {
	Revision  Revision `json:"revision"`
	Instances int      `json:"instances"`
	// Target is the platform's own description (a command, a pod template, a
	// task definition); the platform that wrote it reads it.
	Target json.RawMessage `json:"target"`
}

// NewSpec binds id to its description and computes the revision's digest.
func NewSpec(id string, instances int, target any) (Spec, error) {
	raw, err := json.Marshal(target)
	if err != nil {
		return Spec{}, fmt.Errorf("revision %s: describe its target: %w", id, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s", id, instances, raw))
	return Spec{
		Revision:  Revision{ID: id, Spec: hex.EncodeToString(sum[:])},
		Instances: instances,
		Target:    raw,
	}, nil
}

// Key tells revisions apart also where two share an ID: it is what meters
// count by.
func (r Revision) Key() string {
	return r.ID + "@" + r.Spec[:min(12, len(r.Spec))]
}
