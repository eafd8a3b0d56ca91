package s3origin

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/novasocial/imagetier/origin"
)

// Sample returns up to n names of objects with the extension of an image, in the order of
// their keys, for diagnostics. It looks at the first 1,000 keys and needs the permission
// s3:ListBucket.
func (s *Source) Sample(ctx context.Context, n int) (names []string, err error) {
	page, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &s.cfg.Bucket, Prefix: &s.cfg.Prefix, RequestPayer: s.payer(),
	})
	if err != nil {
		return nil, fmt.Errorf("list bucket: %w", s.explain(ctx, err, origin.Cond{}, time.Time{}, time.Time{}))
	}
	for _, object := range page.Contents {
		key := aws.ToString(object.Key)
		switch strings.ToLower(path.Ext(key)) {
		case ".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".heic":
			if len(names) < n {
				names = append(names, strings.TrimPrefix(key, s.cfg.Prefix))
			}
		}
	}
	return names, nil
}
