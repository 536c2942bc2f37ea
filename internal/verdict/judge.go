package verdict

// Judge answers q.
func Judge(q Question) Judgement {
	return Judgement{Verdict: Inconclusive, Control: Absent}
}

func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
