package artifact

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// hashDigits of a record's hash are in its artifact's name. The rest is
// compared with the content.
const hashDigits = 12

// copies bounds the names that one record can have in one run: the first, and
// those for when it is taken by an upload that was cut short.
const copies = 3

var (
	// serviceName is what the config allows.
	serviceName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	// tail is what follows the service in the name of a record.
	tail = regexp.MustCompile(`^-(\d{6,18})-([0-9a-f]{12})(?:-[2-9])?$`)
	// tailed is a service's name that would be read as a record of another one.
	tailed  = regexp.MustCompile(`-\d{6,18}-[0-9a-f]{12}(-[2-9])?$`)
	hashHex = regexp.MustCompile(`^[0-9a-f]{64}$`)
	// runNumber is what GitHub calls a run.
	runNumber = regexp.MustCompile(`^[1-9]\d{0,17}$`)
)

func checkService(service string) error {
	if !serviceName.MatchString(service) || tailed.MatchString(service) {
		return fmt.Errorf("service %q cannot be kept as an artifact: allowed are up to 63 small letters, digits and -, "+
			"the first a letter, and not with the end of a record's name", service)
	}
	return nil
}

// beaconName is what each run with records of the service has one of.
func beaconName(service string) string { return "gapless-" + service }

// place is where in the chain a record ends, as far as its name tells.
type place struct {
	seq  int
	hash string // the first hashDigits of it
}

func placeOf(h rollout.Head) place {
	return place{seq: h.Seq, hash: h.Hash[:min(hashDigits, len(h.Hash))]}
}

// names gives the artifacts that may hold the record, in the order in which
// they are tried.
func (p place) names(service string) []string {
	first := fmt.Sprintf("%s-%06d-%s", beaconName(service), p.seq, p.hash)
	all := []string{first}
	for n := 2; n <= copies; n++ {
		all = append(all, fmt.Sprintf("%s-%d", first, n))
	}
	return all
}

// parse reads an artifact's name; ok is false where it is not a record of the
// service.
func parse(service, name string) (p place, ok bool) {
	prefix := beaconName(service)
	if len(name) < len(prefix) || name[:len(prefix)] != prefix {
		return place{}, false
	}
	m := tail.FindStringSubmatch(name[len(prefix):])
	if m == nil {
		return place{}, false
	}
	seq, err := strconv.Atoi(m[1])
	return place{seq: seq, hash: m[2]}, err == nil && seq > 0
}
