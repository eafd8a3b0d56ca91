package rewrite_test

import (
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

// BenchmarkRead reads an answer of 20 posts without minting URLs.
func BenchmarkRead(b *testing.B) {
	post := `{"id":"post-1","caption":"A day at the sea, 1 of many. Es war schön \u2600 and we stayed until the sun was gone; see you there tomorrow.","imageUrl":"https://cdn.app.example/2026/11/000015004c7d65abcdef0123.jpg","thumbnailUrl":null,"likeCount":1013,"commentCount":4,"author":{"id":"user-3","username":"someone.3","avatarUrl":null}}`
	page := []byte(
		`{"data":{"feed":{"posts":[` + strings.Repeat(post+",", 19) + post + `],"cursor":"b3BhcXVl","hasMore":true}}}`,
	)
	var r rewrite.Rewriter
	var out []byte
	keep := func(*rewrite.Field, string) (string, bool) { return "", false }
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(fields, keep)
		out = r.Append(out[:0], page)
		out, _ = r.Close(out)
	}
	if string(out) != string(page) {
		b.Fatal("it is changed")
	}
}
