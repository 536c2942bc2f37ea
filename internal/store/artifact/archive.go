package artifact

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

const (
	recordFile = "record.json"
	beaconFile = "beacon.json"
	// mostZip bounds what is downloaded: a record that hardly compresses, and
	// what a zip file adds.
	mostZip = 20 << 20
)

// pack gives a zip file of one file. The same content gives the same bytes: it
// has no time and no mode.
func pack(name string, content []byte) ([]byte, error) {
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		_, err = f.Write(content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("pack %s: %w", name, err)
	}
	return packed.Bytes(), nil
}

// unpack gives the only file of a zip file, which must be record.json. Nothing
// is written anywhere, and no more than a record may have is ever decompressed.
// The error wraps rollout.ErrBroken.
func unpack(packed []byte) ([]byte, error) {
	r, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rollout.ErrBroken, err)
	}
	if len(r.File) != 1 || r.File[0].Name != recordFile || !r.File[0].Mode().IsRegular() {
		held := "no file"
		if len(r.File) > 0 {
			held = fmt.Sprintf("%d files, the first %q", len(r.File), r.File[0].Name)
		}
		return nil, fmt.Errorf("%w: the archive holds %s, allowed is %s alone", rollout.ErrBroken, held, recordFile)
	}
	f, err := r.File[0].Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", rollout.ErrBroken, recordFile, err)
	}
	// What the archive says of its file's size is not believed.
	content, err := io.ReadAll(io.LimitReader(f, rollout.MaxRecordBytes+1))
	if len(content) > rollout.MaxRecordBytes {
		// Closing would only tell that not all was read.
		return nil, fmt.Errorf("%w: %s has more than the %d bytes that are allowed", rollout.ErrBroken, recordFile, rollout.MaxRecordBytes)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", rollout.ErrBroken, recordFile, err)
	}
	return content, nil
}
