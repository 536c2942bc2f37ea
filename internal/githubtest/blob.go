package githubtest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The store of artifacts' content follows "Put Block", "Put Block List" and
// "Get Blob" of Azure's Blob service, with a shared access signature in the
// URL. It is stricter where act's server is lax: blocks are listed in the order
// in which they came, and a blob is never put in one piece.
const (
	blobPrefix = "/actions-results/"
	maxBlock   = 8 << 20 // what the toolkit sends at most
)

// signedURL returns a URL by which an artifact can be read ("r") or written
// ("w") for some time.
func (s *Server) signedURL(a *Artifact, permission string, valid time.Duration) string {
	query := url.Values{"sp": {permission}, "se": {s.now().Add(valid).Format(time.RFC3339)}, "sv": {"2026-02-06"}, "sr": {"b"}}
	query.Set("sig", s.signature(a.blob, query))
	return s.URL() + blobPrefix + a.blob + "?" + query.Encode()
}

func (s *Server) signature(blob string, query url.Values) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write([]byte(strings.Join([]string{blob, query.Get("sp"), query.Get("se"), query.Get("sv"), query.Get("sr")}, "\n")))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// blobError is an error as Azure gives it.
type blobError struct {
	status  int
	code    string
	message string
}

func (e blobError) write(s *Server, w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("x-ms-error-code", e.code)
	w.WriteHeader(e.status)
	if _, err := fmt.Fprintf(w, "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s</Message></Error>",
		e.code, e.message); err != nil {
		s.tb.Logf("githubtest: %v", err)
	}
}

// authorised returns the blob that a request may do what it asks with.
func (s *Server) authorised(r *http.Request, permission string) (*Artifact, *blobError) {
	query := r.URL.Query()
	name := strings.TrimPrefix(r.URL.Path, blobPrefix)
	if !hmac.Equal([]byte(query.Get("sig")), []byte(s.signature(name, query))) || query.Get("sp") != permission {
		return nil, &blobError{http.StatusForbidden, "AuthenticationFailed", "Server failed to authenticate the request."}
	}
	ends, err := time.Parse(time.RFC3339, query.Get("se"))
	if err != nil || !s.now().Before(ends) {
		return nil, &blobError{http.StatusForbidden, "AuthenticationFailed", "Signature not valid in the specified time frame"}
	}
	a := s.blobs[name]
	if a == nil {
		return nil, &blobError{http.StatusNotFound, "BlobNotFound", "The specified blob does not exist."}
	}
	return a, nil
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBlock+1))
	if err != nil || len(content) > maxBlock {
		blobError{http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large."}.write(s, w)
		return
	}
	s.mu.Lock()
	a, refused := s.authorised(r, "w")
	if refused == nil {
		refused = a.put(r, content)
	}
	s.mu.Unlock()
	if refused != nil {
		refused.write(s, w)
		return
	}
	w.Header().Set("ETag", `"0x8D"`)
	w.Header().Set("x-ms-version", r.Header.Get("x-ms-version"))
	w.WriteHeader(http.StatusCreated)
}

func (a *Artifact) put(r *http.Request, content []byte) *blobError {
	if a.finished {
		return &blobError{http.StatusConflict, "BlobImmutableDueToPolicy", "This operation is not permitted as the blob is immutable."}
	}
	switch query := r.URL.Query(); query.Get("comp") {
	case "block":
		return a.putBlock(query.Get("blockid"), content)
	case "blocklist":
		return a.putList(content)
	case "":
		if r.Header.Get("x-ms-blob-type") == "" {
			return &blobError{http.StatusBadRequest, "MissingRequiredHeader", "An HTTP header that is mandatory, x-ms-blob-type, is not specified."}
		}
		// act's server takes it and drops what it says.
		return &blobError{http.StatusBadRequest, "UnsupportedHttpVerb", "A blob is put as blocks and their list."}
	}
	return &blobError{http.StatusBadRequest, "InvalidQueryParameterValue", "Value for comp is invalid."}
}

func (a *Artifact) putBlock(id string, content []byte) *blobError {
	const longest = 64
	decoded, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(decoded) == 0 || len(decoded) > longest {
		return &blobError{http.StatusBadRequest, "InvalidQueryParameterValue", "blockid is no Base64 of up to 64 bytes."}
	}
	if len(a.sent) > 0 && len(a.sent[0]) != len(id) {
		return &blobError{http.StatusBadRequest, "InvalidBlobOrBlock", "All block ids of a blob have the same length."}
	}
	if len(content) == 0 {
		return &blobError{http.StatusBadRequest, "InvalidHeaderValue", "Content-Length is 0."}
	}
	if !slices.Contains(a.sent, id) { // sent again, it replaces
		a.sent = append(a.sent, id)
	}
	a.blocks[id] = content
	return nil
}

// blockList is the body of Put Block List.
type blockList struct {
	XMLName xml.Name `xml:"BlockList"`
	Blocks  []struct {
		XMLName xml.Name
		ID      string `xml:",chardata"`
	} `xml:",any"`
}

func (a *Artifact) putList(content []byte) *blobError {
	var listed blockList
	if err := xml.Unmarshal(content, &listed); err != nil {
		return &blobError{http.StatusBadRequest, "InvalidXmlDocument", "The specified XML is not syntactically valid."}
	}
	var ids []string
	var whole bytes.Buffer
	for _, block := range listed.Blocks {
		part, ok := a.blocks[block.ID]
		if kind := block.XMLName.Local; !ok || kind != "Latest" && kind != "Uncommitted" {
			return &blobError{http.StatusBadRequest, "InvalidBlockList", "The specified block list is invalid."}
		}
		ids = append(ids, block.ID)
		whole.Write(part)
	}
	if !slices.Equal(ids, a.sent) { // act's server appends them as they come
		return &blobError{http.StatusBadRequest, "InvalidBlockList", "The blocks are not all listed in the order in which they came."}
	}
	a.content, a.committed = whole.Bytes(), true
	return nil
}

func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	a, refused := s.authorised(r, "r")
	var content []byte
	if refused == nil {
		content = a.content
	}
	s.mu.Unlock()
	if refused != nil {
		refused.write(s, w)
		return
	}
	if r.Header.Get("Authorization") != "" { // Azure takes one kind of authorisation, and it is a leak
		blobError{http.StatusBadRequest, "InvalidAuthenticationInfo", "Authentication information is not given in the correct format."}.write(s, w)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}
