package results

import (
	"bytes"
	"encoding/json"
	"strings"
)

// What is sent. The service is Protobuf's JSON: it reads names in snake_case
// and 64-bit numbers as strings.
type (
	createRequest struct {
		ids
		Name     string `json:"name"`
		MimeType string `json:"mime_type"`
		Version  int    `json:"version"`
		Expires  string `json:"expires_at,omitempty"`
	}
	finalizeRequest struct {
		ids
		Name string `json:"name"`
		Size int64  `json:"size,string"`
		Hash string `json:"hash"`
	}
	listRequest struct {
		ids
		Name string `json:"name_filter,omitempty"`
	}
	urlRequest struct {
		ids
		Name string `json:"name"`
	}
)

// What is answered, once the names are plain: see plain.
type (
	createAnswer struct {
		OK  bool   `json:"ok"`
		URL string `json:"signeduploadurl"`
	}
	finalizeAnswer struct {
		OK bool `json:"ok"`
	}
	listAnswer struct {
		Artifacts []struct {
			Run    string `json:"workflowrunbackendid"`
			Job    string `json:"workflowjobrunbackendid"`
			Name   string `json:"name"`
			Digest string `json:"digest"`
		} `json:"artifacts"`
	}
	urlAnswer struct {
		URL string `json:"signedurl"`
	}
	errorAnswer struct {
		Code    string `json:"code"`
		Message string `json:"msg"`
	}
)

// decode reads an answer whose names are in snake_case, as GitHub's are, or in
// camelCase, as Protobuf's JSON has them by default.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return err
	}
	again, err := json.Marshal(plain(tree))
	if err != nil {
		return err
	}
	return json.Unmarshal(again, into)
}

// plain takes underscores and capitals out of all names.
func plain(tree any) any {
	switch t := tree.(type) {
	case map[string]any:
		named := make(map[string]any, len(t))
		for name, value := range t {
			named[strings.ToLower(strings.ReplaceAll(name, "_", ""))] = plain(value)
		}
		return named
	case []any:
		for i := range t {
			t[i] = plain(t[i])
		}
	}
	return tree
}
