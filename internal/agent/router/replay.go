package router

import (
	"io"
	"net/http"
)

// replayLimit is as much of a body as the standard transport takes into its
// buffer before it writes the first byte to a connection.
const replayLimit = 4 << 10

// replay is a request's body whose beginning can be read again, for as long as
// no more than that was read.
type replay struct {
	source io.Reader
	kept   []byte
	at     int  // of kept, while reading again
	over   bool // more was read than kept
}

// replayable puts a replay in place of the request's body; nil when it has none.
func replayable(request *http.Request) *replay {
	if request.Body == nil || request.Body == http.NoBody {
		return nil
	}
	body := &replay{source: request.Body}
	request.Body = body
	request.GetBody = func() (io.ReadCloser, error) {
		if !body.rewind() {
			return nil, io.ErrUnexpectedEOF
		}
		return body, nil
	}
	return body
}

// Read implements io.Reader.
func (b *replay) Read(p []byte) (int, error) {
	if b.at < len(b.kept) {
		n := copy(p, b.kept[b.at:])
		b.at += n
		return n, nil
	}
	n, err := b.source.Read(p)
	if !b.over {
		if len(b.kept)+n > replayLimit {
			b.over, b.kept, b.at = true, nil, 0
		} else {
			b.kept = append(b.kept, p[:n]...)
			b.at = len(b.kept)
		}
	}
	return n, err
}

// Close leaves the source open: the server that gave it closes it.
func (b *replay) Close() error { return nil }

// rewind starts again at the beginning and tells whether that is possible.
func (b *replay) rewind() bool {
	if b == nil {
		return true
	}
	b.at = 0
	return !b.over
}
