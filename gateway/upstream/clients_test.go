package upstream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// Every argument arrives at the service, and every
// field of an answer comes back.
func TestServices_Call_EveryField(t *testing.T) {
	asked := make(chan any, 1)
	fakes := play(t, fakeservices.Config{
		Data:   fakeservices.Data{Posts: 1000, FeedLength: 50, UnknownEvery: 5},
		OnCall: func(_ string, request any) { asked <- request },
	})
	s := reach(t, at(fakes, upstream.Config{CallTimeout: soon, Wait: soon}))
	ctx := t.Context()

	page, err := s.Feeds.Slice(ctx, feed.Query{User: "someone", Limit: 30, Cursor: "after:10", Algorithm: "ch"})
	if err != nil || len(page.IDs) != 30 || page.NextCursor != "after:40" || !page.HasMore {
		t.Errorf("%+v, %v", page, err)
	}
	if r := (<-asked).(*feedpb.GetFeedRequest); r.UserId != "someone" || r.Limit != 30 ||
		r.Cursor != "after:10" || r.Algorithm != "ch" {
		t.Errorf("feed was asked %v", r)
	}
	page, err = s.Feeds.Slice(ctx, feed.Query{User: "someone", Limit: 30, Cursor: page.NextCursor, Algorithm: "other"})
	if err != nil || len(page.IDs) != 10 || page.NextCursor != "" || page.HasMore {
		t.Errorf("the last page: %+v, %v", page, err)
	}
	if r := (<-asked).(*feedpb.GetFeedRequest); r.Algorithm != "other" {
		t.Errorf("feed was asked %v", r)
	}

	posts, err := s.Contents.Posts(ctx, []string{"p000003", "p000004", "unknown"}) // the fifth is unknown
	<-asked
	want := feed.Post{
		ID: "p000003", UserID: posts[0].UserID, Caption: "Post 3, \"quoted\" & with a ☕",
		ImageURL:     "https://cdn.app.example/images/p000003.jpg",
		ThumbnailURL: "https://cdn.app.example/images/p000003.jpg",
		Likes:        90909, Comments: 4545, CreatedAt: time.Date(2026, 11, 1, 11, 57, 0, 0, time.UTC),
		Public: true, Crop: "100x50x800x900",
	}
	if err != nil || len(posts) != 1 || posts[0] != want || want.UserID == "" {
		t.Errorf("%+v, %v, want %+v", posts, err, want)
	}

	profiles, err := s.Users.Profiles(ctx, []string{"u00016", "u00002", "unknown"})
	<-asked
	if want := []feed.Profile{
		{ID: "u00016", Username: "user16"},
		{ID: "u00002", Username: "user2", AvatarURL: "https://cdn.app.example/avatars/u00002.jpg"},
	}; err != nil || !slices.Equal(profiles, want) {
		t.Errorf("%+v, %v, want %+v", profiles, err, want)
	}

	likes := feed.Likes{User: "someone", Posts: []string{"p000003"}, Like: true, Key: "key"}
	if err := s.Contents.Like(ctx, likes); err != nil {
		t.Error(err)
	}
	if r := (<-asked).(*contentpb.BatchLikeRequest); r.UserId != "someone" ||
		!slices.Equal(r.PostIds, []string{"p000003"}) || !r.Like || r.IdempotencyKey != "key" {
		t.Errorf("content was asked %v", r)
	}
}

// Pages have no post twice, and at most the requested number.
func TestServices_Slice_DistinctAndLimited(t *testing.T) {
	addr := serve(t, func(g *grpc.Server) { feedpb.RegisterRecommendationServiceServer(g, careless{}) })
	s := reach(t, upstream.Config{Feed: addr, Content: addr, User: addr, CallTimeout: soon, Wait: soon})
	page, err := s.Feeds.Slice(t.Context(), feed.Query{User: "u", Limit: 3})
	if want := []string{"a", "b", "c"}; err != nil || !slices.Equal(page.IDs, want) ||
		page.NextCursor != "n" || !page.HasMore {
		t.Errorf("%+v, %v, want %v", page, err, want)
	}
}

func TestServices_Like_Unsuccessful(t *testing.T) {
	addr := serve(t, func(g *grpc.Server) { contentpb.RegisterContentServiceServer(g, unwilling{}) })
	s := reach(t, upstream.Config{Feed: addr, Content: addr, User: addr, CallTimeout: soon, Wait: soon})
	likes := feed.Likes{User: "u", Posts: []string{"p"}, Key: "k"}
	if err := s.Contents.Like(t.Context(), likes); !errors.Is(err, feed.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
}

func TestServices_Call_Traced(t *testing.T) {
	headers := make(chan []string, 1)
	addr := serve(t, func(g *grpc.Server) { feedpb.RegisterRecommendationServiceServer(g, careless{}) },
		grpc.UnaryInterceptor(func(
			ctx context.Context, req any, _ *grpc.UnaryServerInfo, answer grpc.UnaryHandler,
		) (any, error) {
			headers <- metadata.ValueFromIncomingContext(ctx, "traceparent")
			return answer(ctx, req)
		}))
	spans := tracetest.NewSpanRecorder()
	s := reach(t, upstream.Config{
		Feed: addr, Content: addr, User: addr, CallTimeout: soon, Wait: soon,
		Traces: trace.NewTracerProvider(trace.WithSpanProcessor(spans)),
	})
	if err := getFeed(s); err != nil {
		t.Fatal(err)
	}
	until(t, "the span has ended", func() bool { return len(spans.Ended()) == 1 })
	span := spans.Ended()[0]
	parent := "00-" + span.SpanContext().TraceID().String() + "-" + span.SpanContext().SpanID().String() + "-01"
	if got := <-headers; span.Name() != "feed.RecommendationService/GetFeed" || !slices.Equal(got, []string{parent}) {
		t.Errorf("span %q, and the service received %q, want %q", span.Name(), got, parent)
	}
}

func TestNew_TLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	addr := serve(t, func(g *grpc.Server) { feedpb.RegisterRecommendationServiceServer(g, careless{}) },
		grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	trusting := upstream.Config{
		Feed: addr, Content: addr, User: addr, CallTimeout: soon, Wait: soon,
		TLS: &tls.Config{RootCAs: roots, ServerName: "example.com"},
	}
	if err := getFeed(reach(t, trusting)); err != nil {
		t.Error(err)
	}
	plain := trusting
	plain.TLS, plain.Wait = nil, -1
	if err := getFeed(reach(t, plain)); !errors.Is(err, feed.ErrUnavailable) {
		t.Errorf("without TLS: %v, want ErrUnavailable", err)
	}
}

func TestNew_InvalidAddress(t *testing.T) {
	for _, addr := range []string{"", "http://feed:50051"} {
		if s, err := upstream.New(upstream.Config{Feed: "feed:50051", Content: addr, User: "user:50051"}); err == nil {
			s.Close()
			t.Errorf("%q was taken", addr)
		}
	}
}

type careless struct {
	feedpb.UnimplementedRecommendationServiceServer
}

func (careless) GetFeed(context.Context, *feedpb.GetFeedRequest) (*feedpb.GetFeedResponse, error) {
	answer := &feedpb.GetFeedResponse{NextCursor: "n", HasMore: true}
	for _, id := range []string{"a", "b", "a", "", "c", "d"} {
		answer.Posts = append(answer.Posts, &feedpb.FeedPost{Id: id})
	}
	return answer, nil
}

type unwilling struct {
	contentpb.UnimplementedContentServiceServer
}

func (unwilling) BatchLike(context.Context, *contentpb.BatchLikeRequest) (*contentpb.BatchLikeResponse, error) {
	return &contentpb.BatchLikeResponse{}, nil
}
