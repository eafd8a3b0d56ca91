package s3store_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/imagecache/sharedstore/s3store"
	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

func TestStore_DeleteAll_RemovesAPrefix(t *testing.T) {
	s3 := s3server.Start(t)
	s3.Bucket(t, "derived", false)
	store, err := s3store.New(t.Context(), s3store.Config{
		Bucket: "derived", Prefix: "tier/", Region: s3.Region, Endpoint: s3.Endpoint, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s3.AccessKey, s3.SecretKey, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Get(t.Context(), "aa/1"); !errors.Is(err, sharedstore.ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	for i := range 1005 { // more than a page
		if err := store.Put(t.Context(), fmt.Sprintf("aa/%d", i), bytes.Repeat([]byte{byte(i)}, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(t.Context(), "ab/1", []byte("stays")); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Get(t.Context(), "aa/7"); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{7}, 10)) {
		t.Errorf("%q %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(s3.Dir, "derived", "tier", "aa", "7")); err != nil {
		t.Error(err)
	}
	listed, err := store.List(t.Context(), "aa/")
	if err != nil || len(listed) != 1005 || !slices.Contains(listed, sharedstore.Object{Key: "aa/7", Size: 10}) {
		t.Errorf("%d objects, %v; want 1005, without the prefix of the store", len(listed), err)
	}
	deleted, err := store.DeleteAll(t.Context(), "aa/")
	if err != nil || len(deleted) != 1005 || !slices.Contains(deleted, sharedstore.Object{Key: "aa/7", Size: 10}) {
		t.Errorf("%d objects, %v; want 1005, without the prefix of the store", len(deleted), err)
	}
	if _, err := store.Get(t.Context(), "aa/7"); !errors.Is(err, sharedstore.ErrNotFound) {
		t.Errorf("%v: it is still there", err)
	}
	if got, err := store.Get(t.Context(), "ab/1"); err != nil || string(got) != "stays" {
		t.Errorf("%q %v", got, err)
	}
	if deleted, err := store.DeleteAll(t.Context(), "aa/"); err != nil || len(deleted) != 0 {
		t.Errorf("%v, %v", deleted, err)
	}
	s3.Stop()
	if _, err := store.Get(t.Context(), "ab/1"); err == nil || errors.Is(err, sharedstore.ErrNotFound) {
		t.Errorf("%v from a stopped store", err)
	}
}
