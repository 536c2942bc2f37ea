package pgtest

// CacheDir is where downloads go.
func CacheDir() (string, error) { return cacheDir() }
