package githubtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// newID must be called with the lock held.
func (s *Server) newID() int64 {
	s.lastID++
	return s.lastID
}

// newSHA returns the SHA of a new commit: the same in each run of a test.
func (s *Server) newSHA() string {
	const size = 20
	sum := sha256.Sum256(fmt.Appendf(nil, "commit %d", s.newID()))
	return hex.EncodeToString(sum[:size])
}

// newUUID returns an id as the artifact service's are.
func newUUID() string {
	b := randomBytes()
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// newSecret returns a token that nobody guesses.
func newSecret(prefix string) string { return prefix + rand.Text() }

func randomBytes() []byte {
	const size = 32
	random := make([]byte, size)
	if _, err := rand.Read(random); err != nil {
		return random // never: it ends the program instead
	}
	return random
}
