package results

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/gapless-deploy/gapless/internal/retry"
)

// blockSize is that of actions/toolkit.
const blockSize = 8 << 20

// upload sends content in blocks, one after the other: act's server joins them
// in the order in which they arrive.
func (c *Client) upload(ctx context.Context, signed string, content []byte) error {
	// The HTTP client asks again itself, by the clock that it was given.
	client, err := blockblob.NewClientWithNoCredential(signed, &blockblob.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: c.http,
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "gapless"},
	}})
	if err != nil {
		return errors.New("the address to upload to cannot be read")
	}
	var blocks []string
	for part := range slices.Chunk(content, blockSize) {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", len(blocks)))
		if _, err := client.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(part)), nil); err != nil {
			return fmt.Errorf("block %d: %w", len(blocks), blobError(err))
		}
		blocks = append(blocks, id)
	}
	kind := mimeType
	if _, err := client.CommitBlockList(ctx, blocks, &blockblob.CommitBlockListOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &kind},
	}); err != nil {
		return fmt.Errorf("list of blocks: %w", blobError(err))
	}
	return nil
}

// blobError tells what went wrong without the answer's text, which may quote
// the signature.
func blobError(err error) error {
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("status %d %s", refused.StatusCode, refused.ErrorCode)
	}
	return retry.Redact(err)
}
