package s3origin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/novasocial/imagetier/origin"
)

// List returns a page of a folder, and needs the permission s3:ListBucket. After is a continuation
// token of the store.
func (s *Source) List(ctx context.Context, req origin.ListRequest) (list origin.Listing, err error) {
	prefix := s.cfg.Prefix + req.Folder
	input := &s3.ListObjectsV2Input{
		Bucket: &s.cfg.Bucket, Prefix: &prefix, Delimiter: aws.String("/"), MaxKeys: aws.Int32(int32(req.Limit)),
		RequestPayer: s.payer(),
	}
	if req.After != "" {
		input.ContinuationToken = &req.After
	}
	page, err := s.client.ListObjectsV2(ctx, input)
	if err != nil {
		return list, fmt.Errorf("list bucket: %w", s.explain(ctx, err, origin.Cond{}, time.Time{}, time.Time{}))
	}
	for _, folder := range page.CommonPrefixes {
		list.Folders = append(list.Folders, strings.TrimPrefix(aws.ToString(folder.Prefix), s.cfg.Prefix))
	}
	for _, object := range page.Contents {
		name := strings.TrimPrefix(aws.ToString(object.Key), s.cfg.Prefix)
		if name == req.Folder { // the object that some tools make for a folder
			continue
		}
		list.Objects = append(list.Objects, origin.Listed{
			Name: name, Bytes: aws.ToInt64(object.Size), Modified: aws.ToTime(object.LastModified),
		})
	}
	list.Next = aws.ToString(page.NextContinuationToken)
	return list, nil
}
