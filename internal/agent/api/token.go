package api

import (
	"fmt"
	"os"
	"strings"
)

// minToken is the least length of a token that is not guessed soon.
const minToken = 16

// CheckToken returns an error unless the token is long enough to stay secret.
func CheckToken(token string) error {
	if len(token) < minToken {
		return fmt.Errorf("agent token: %d characters, must be at least %d", len(token), minToken)
	}
	return nil
}

// ReadToken reads a token from a file that only its owner and group may read.
func ReadToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("agent token: %w", err)
	}
	if open := info.Mode().Perm() & 0o007; open != 0 {
		return "", fmt.Errorf("agent token: %s is open to everybody (mode %04o), must be 0600 or 0640", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("agent token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	return token, CheckToken(token)
}
