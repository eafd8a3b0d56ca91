package proto_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/novasocial/imagetier/gateway/proto/contentpb"
	"github.com/novasocial/imagetier/gateway/proto/feedpb"
	"github.com/novasocial/imagetier/gateway/proto/userpb"
)

func TestGeneratedCode(t *testing.T) {
	recorded, err := os.ReadFile("made-of.sha256")
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("*.proto")
	if err != nil || len(names) != 3 {
		t.Fatalf("%d .proto files, %v", len(names), err)
	}
	var now strings.Builder
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&now, "%x  %s\n", sha256.Sum256(source), name)
	}
	if now.String() != string(recorded) {
		t.Errorf("a .proto file has changed since its Go code was made: make proto\nnow:\n%srecorded:\n%s",
			&now, recorded)
	}
}

// The protocol of the existing services.
func TestServiceNames(t *testing.T) {
	want := []string{
		"/feed.RecommendationService/GetFeed(user_id string, limit uint32, cursor string, algorithm string) (posts []FeedPost, next_cursor string, has_more bool)",
		"/content.ContentService/GetPostsByIds(post_ids []string) (posts []Post)",
		"/content.ContentService/BatchLike(user_id string, post_ids []string, like bool, idempotency_key string) (success bool)",
		"/user.UserService/GetUserProfilesByIds(user_ids []string) (profiles []UserProfile)",
	}
	var got []string
	for _, file := range []protoreflect.FileDescriptor{
		feedpb.File_feed_proto, contentpb.File_content_proto, userpb.File_user_proto,
	} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				got = append(got, fmt.Sprintf("/%s/%s(%s) (%s)",
					service.FullName(), m.Name(), fieldsOf(m.Input()), fieldsOf(m.Output())))
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for message, want := range map[protoreflect.MessageDescriptor]string{
		(&feedpb.FeedPost{}).ProtoReflect().Descriptor():    "id string",
		(&contentpb.Post{}).ProtoReflect().Descriptor():     "id string, user_id string, content string, image_url string, thumbnail_url string, like_count int64, comment_count int64, created_at int64, visibility string, image_crop string",
		(&userpb.UserProfile{}).ProtoReflect().Descriptor(): "id string, username string, avatar_url string",
	} {
		if got := fieldsOf(message); got != want {
			t.Errorf("%s has %s, want %s", message.Name(), got, want)
		}
	}
}

// fieldsOf returns names and types, in the order of the numbers, which have no gap.
func fieldsOf(m protoreflect.MessageDescriptor) string {
	fields := make([]string, m.Fields().Len())
	for i := range fields {
		f := m.Fields().ByNumber(protoreflect.FieldNumber(i + 1))
		if f == nil {
			return fmt.Sprintf("no field with number %d", i+1)
		}
		kind := f.Kind().String()
		if f.Message() != nil {
			kind = string(f.Message().Name())
		}
		if f.IsList() {
			kind = "[]" + kind
		}
		fields[i] = string(f.Name()) + " " + kind
	}
	return strings.Join(fields, ", ")
}
