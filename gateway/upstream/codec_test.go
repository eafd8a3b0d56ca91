package upstream_test

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/upstream"
)

// endless is a content service that answers more posts than requested.
type endless struct {
	contentpb.UnimplementedContentServiceServer
	posts int
}

func (e *endless) GetPostsByIds(
	context.Context, *contentpb.GetPostsByIdsRequest,
) (*contentpb.GetPostsByIdsResponse, error) {
	return &contentpb.GetPostsByIdsResponse{Posts: make([]*contentpb.Post, e.posts)}, nil
}

func TestServices_Call_BoundsFieldsOfAnswer(t *testing.T) {
	content := &endless{}
	server := grpc.NewServer()
	contentpb.RegisterContentServiceServer(server, content)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener) // ends with the test
	defer server.Stop()
	addr := listener.Addr().String()
	s := reach(t, upstream.Config{Feed: addr, Content: addr, User: addr, CallTimeout: soon, Wait: soon})
	for posts, good := range map[int]bool{1000: true, 1001: false, 2_000_000: false} {
		content.posts = posts
		got, err := s.Contents.Posts(t.Context(), []string{"a"})
		if good != (err == nil) || good && len(got) != posts {
			t.Errorf("%d posts: %d, %v", posts, len(got), err)
		}
	}
}
