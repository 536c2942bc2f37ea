package supervisor

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// sweepGrace is the time that unknown instances have to end by themselves.
const sweepGrace = 3 * time.Second

// Sweep ends processes of this agent other than keep: those of a launch that
// was being ended, and those an agent started and was killed before it wrote
// them down. It returns how many it found.
func (s *Supervisor) Sweep(keep []Process) (int, error) {
	found, err := s.strays(keep)
	if err != nil {
		return 0, err
	}
	return len(found), s.endAll(found)
}

// strays lists processes of this agent other than keep.
func (s *Supervisor) strays(keep []Process) ([]Process, error) {
	kept := map[int]bool{}
	for _, known := range keep {
		kept[known.PID] = s.isOurs(known)
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var stray []Process
	for _, proc := range all {
		stat, err := proc.Stat()
		if err != nil || kept[stat.PID] || !s.ownedBy(stat.PID) || s.ownedBy(stat.PPID) {
			continue // gone meanwhile, kept, not ours, or the child of one of ours
		}
		if stat.PGRP == stat.PID {
			stray = append(stray, Process{PID: stat.PID, Start: stat.Starttime})
		}
	}
	return stray, nil
}

func (s *Supervisor) endAll(stray []Process) error {
	var faults []error
	for _, p := range stray {
		faults = append(faults, signal(p.PID, syscall.SIGTERM))
	}
	deadline := time.NewTimer(sweepGrace)
	defer deadline.Stop()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for _, p := range stray {
		for late := false; runs(p) && !late; {
			select {
			case <-ticker.C:
			case <-deadline.C:
				late = true
				deadline.Reset(0) // the others are late as well
			}
		}
		faults = append(faults, signal(p.PID, syscall.SIGKILL))
	}
	return errors.Join(faults...)
}
