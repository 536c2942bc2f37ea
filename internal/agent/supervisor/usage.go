package supervisor

import (
	"sync"
	"time"

	"github.com/prometheus/procfs"

	"github.com/gapless-deploy/gapless/internal/agent/tally"
)

// regroup is how often the list of processes is read for children of instances.
const regroup = 5 * time.Second

// groups knows which processes belong to an instance: those of its group.
type groups struct {
	now func() time.Time

	mu      sync.Mutex
	read    time.Time
	members map[int][]int       // by process group
	spent   map[Process]float64 // CPU seconds at the last reading
}

func newGroups(now func() time.Time) *groups {
	return &groups{now: now, members: map[int][]int{}, spent: map[Process]float64{}}
}

// refresh reads the list of processes if the last reading is old.
func (g *groups) refresh() {
	now := g.now()
	if now.Sub(g.read) < regroup {
		return
	}
	g.read = now
	all, err := procfs.AllProcs()
	if err != nil {
		return // the last reading stands; leaders are read in any case
	}
	g.members = map[int][]int{}
	for _, proc := range all {
		if stat, err := proc.Stat(); err == nil && stat.PID != stat.PGRP {
			g.members[stat.PGRP] = append(g.members[stat.PGRP], stat.PID)
		}
	}
}

// Usage reads what the fleets' instances used since they were read last: one
// number a revision and side. What ended meanwhile is not in it.
func (s *Supervisor) Usage(fleets []*Fleet) map[tally.Key]tally.Usage {
	g := s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refresh()
	spent := map[Process]float64{}
	usage := map[tally.Key]tally.Usage{}
	counted := map[tally.Key]float64{}
	for _, f := range fleets {
		key := tally.Key{Side: f.order.Side, Revision: f.order.Revision}
		sum := usage[key]
		sum.Instances += f.Ready()
		for _, known := range f.Processes() {
			known.Restarts = 0 // not part of its identity
			cpu, memory, ok := g.readGroup(known.PID)
			if !ok {
				continue
			}
			before, seen := g.spent[known]
			if !seen && !f.began(known) {
				before = cpu // taken over: what it used before is not this agent's to tell
			}
			spent[known] = cpu
			sum.CPUSeconds += max(0, cpu-before)
			sum.MemoryBytes += memory
			counted[key]++
		}
		usage[key] = sum
	}
	for key, n := range counted {
		sum := usage[key]
		sum.MemoryBytes /= n
		sum.Known = true
		usage[key] = sum
	}
	g.spent = spent
	return usage
}

// began tells whether the process was started by this agent.
func (f *Fleet) began(known Process) bool {
	for _, in := range f.all() {
		in.mu.Lock()
		mine := in.process != nil && in.process.PID == known.PID && !in.process.adopted
		in.mu.Unlock()
		if mine {
			return true
		}
	}
	return false
}

// readGroup sums CPU seconds (those of children that ended included) and
// resident bytes over an instance's processes.
func (g *groups) readGroup(leader int) (cpu, memory float64, ok bool) {
	for _, pid := range append([]int{leader}, g.members[leader]...) {
		stat, err := statOf(pid)
		if err != nil {
			continue
		}
		ok = ok || pid == leader
		cpu += stat.CPUTime() + float64(stat.CUTime+stat.CSTime)/userHZ
		memory += float64(stat.ResidentMemory())
	}
	return cpu, memory, ok
}

// userHZ is the unit of times in /proc on every architecture that Linux has today.
const userHZ = 100
