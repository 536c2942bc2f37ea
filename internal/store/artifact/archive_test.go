package artifact

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// archive builds what pack never would.
func archive(t *testing.T, content []byte, headers ...*zip.FileHeader) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for _, h := range headers {
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func deflated(name string) *zip.FileHeader { return &zip.FileHeader{Name: name, Method: zip.Deflate} }

func TestUnpackGivesWhatWasPacked(t *testing.T) {
	content := []byte(strings.Repeat(`{"a": 1}`, 1000))
	one, err := pack(recordFile, content)
	if err != nil {
		t.Fatal(err)
	}
	two, err := pack(recordFile, content)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("the same content was packed differently, %v", err)
	}
	if len(one) > len(content)/10 {
		t.Errorf("%d bytes were packed into %d", len(content), len(one))
	}
	got, err := unpack(one)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("unpacked: %d bytes, %v, want %d", len(got), err, len(content))
	}
	stored := archive(t, content, &zip.FileHeader{Name: recordFile, Method: zip.Store})
	if got, err := unpack(stored); err != nil || !bytes.Equal(got, content) {
		t.Errorf("without compression: %d bytes, %v", len(got), err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("too much for the race detector: make test runs it without")
	}
	content := []byte("{}\n")
	link := deflated(recordFile)
	link.SetMode(fs.ModeSymlink | 0o777)
	whole, err := pack(recordFile, content)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Clone(whole)
	damaged[len(recordFile)+30] ^= 0xff
	for name, c := range map[string]struct {
		packed []byte
		want   string
	}{
		"nothing":                 {nil, "zip"},
		"no zip file":             {[]byte("record.json"), "zip"},
		"cut off":                 {whole[:len(whole)-8], "zip"},
		"damaged":                 {damaged, recordFile},
		"no file":                 {archive(t, nil), "no file"},
		"a path out of it":        {archive(t, content, deflated("../record.json")), `"../record.json"`},
		"a path from the root":    {archive(t, content, deflated("/record.json")), `"/record.json"`},
		"a file in a directory":   {archive(t, content, deflated("a/record.json")), `"a/record.json"`},
		"a directory":             {archive(t, nil, deflated("record.json/")), `"record.json/"`},
		"a link":                  {archive(t, content, link), "1 files"},
		"another file":            {archive(t, content, deflated("state.json")), `"state.json"`},
		"another case":            {archive(t, content, deflated("Record.json")), `"Record.json"`},
		"two files":               {archive(t, content, deflated(recordFile), deflated("more")), "2 files"},
		"the same file twice":     {archive(t, content, deflated(recordFile), deflated(recordFile)), "2 files"},
		"an unknown compression":  {archiveRaw(t, content, 99), "unsupported"},
		"a wrong length":          {lying(t, content, len(content)+5), recordFile},
		"more than a record has":  {archive(t, bytes.Repeat([]byte("a"), rollout.MaxRecordBytes+1), deflated(recordFile)), "more than"},
		"a size that is not true": {lying(t, bytes.Repeat([]byte("a"), rollout.MaxRecordBytes+1), 10), recordFile},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := unpack(c.packed)
			if !errors.Is(err, rollout.ErrBroken) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %d bytes, %v, want ErrBroken with %q in it", len(got), err, c.want)
			}
		})
	}
}

// archiveRaw writes content under a method that needs not be one.
func archiveRaw(t *testing.T, content []byte, method uint16) []byte {
	t.Helper()
	return raw(t, content, &zip.FileHeader{Name: recordFile, Method: method, UncompressedSize64: uint64(len(content))})
}

// lying writes a file of another size than its header says.
func lying(t *testing.T, content []byte, size int) []byte {
	t.Helper()
	honest := archive(t, content, deflated(recordFile))
	r, err := zip.NewReader(bytes.NewReader(honest), int64(len(honest)))
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := r.File[0].OpenRaw()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(compressed)
	if err != nil {
		t.Fatal(err)
	}
	return raw(t, data, &zip.FileHeader{Name: recordFile, Method: zip.Deflate, UncompressedSize64: uint64(size), CRC32: r.File[0].CRC32})
}

func raw(t *testing.T, data []byte, header *zip.FileHeader) []byte {
	t.Helper()
	header.CompressedSize64 = uint64(len(data))
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	f, err := w.CreateRaw(header)
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// A bomb of 256 MiB is cut at the cap: what is held stays near it.
func TestABombIsCut(t *testing.T) {
	if testing.Short() {
		t.Skip("too much for the race detector: make test runs it without")
	}
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	f, err := w.CreateHeader(deflated(recordFile))
	for range 1 << 8 {
		if err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > mostZip {
		t.Fatalf("the bomb has %d bytes, so it would not come this far", packed.Len())
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := unpack(packed.Bytes()); !errors.Is(err, rollout.ErrBroken) {
		t.Errorf("a bomb gives %v", err)
	}
	runtime.ReadMemStats(&after)
	most := after.TotalAlloc - before.TotalAlloc
	if limit := uint64(8 * rollout.MaxRecordBytes); most > limit {
		t.Errorf("a bomb took %d bytes, want at most %d", most, limit)
	}
}
