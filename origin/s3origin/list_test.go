package s3origin_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/origintest/s3server"
	"github.com/novasocial/imagetier/origin/s3origin"
)

func TestSource_List_Pages(t *testing.T) {
	src, _ := sourceOf(t, s3origin.Config{Prefix: "media/"}, func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if query.Get("prefix") != "media/2026/" || query.Get("delimiter") != "/" || query.Get("max-keys") != "2" ||
			query.Get("continuation-token") != "t1" {
			t.Errorf("the store is asked for %v", query)
		}
		fmt.Fprint(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t2</NextContinuationToken>
			<Contents><Key>media/2026/</Key><Size>0</Size></Contents>
			<Contents><Key>media/2026/a.jpg</Key><Size>12</Size>
				<LastModified>2026-01-02T03:04:05Z</LastModified></Contents>
			<CommonPrefixes><Prefix>media/2026/11/</Prefix></CommonPrefixes></ListBucketResult>`)
	})
	list, err := src.List(t.Context(), origin.ListRequest{Folder: "2026/", After: "t1", Limit: 2})
	if err != nil || list.Next != "t2" || len(list.Folders) != 1 || list.Folders[0] != "2026/11/" ||
		len(list.Objects) != 1 || list.Objects[0].Name != "2026/a.jpg" || list.Objects[0].Bytes != 12 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestSource_List_NoPermission(t *testing.T) {
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>AccessDenied</Code></Error>`)
	})
	if _, err := src.List(t.Context(), origin.ListRequest{Limit: 2}); !errors.Is(err, origin.ErrDenied) {
		t.Error(err)
	}
}

func TestSource_List_Server(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", false)
	for _, key := range []string{
		"media/a.jpg", "media/b/1.jpg", "media/b/2.jpg", "media/c d~.jpg", "media/é.jpg", "other.jpg",
	} {
		server.Put(t, "posts", key, []byte("body"))
	}
	src := newSource(t, onServer(server, "posts", "media/"))
	var names []string
	req := origin.ListRequest{Limit: 2}
	for range 5 {
		list, err := src.List(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, list.Folders...)
		for _, o := range list.Objects {
			names = append(names, o.Name)
		}
		if req.After = list.Next; req.After == "" {
			break
		}
	}
	slices.Sort(names)
	if want := []string{"a.jpg", "b/", "c d~.jpg", "é.jpg"}; !slices.Equal(names, want) {
		t.Errorf("listed %q, want %q", names, want)
	}
	list, err := src.List(t.Context(), origin.ListRequest{Folder: "b/", Limit: 9})
	if err != nil || len(list.Objects) != 2 || list.Objects[1].Name != "b/2.jpg" || list.Objects[1].Bytes != 4 {
		t.Errorf("b/: %+v, %v", list, err)
	}
}
