package s3origin_test

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/origintest/s3server"
	"github.com/novasocial/imagetier/origin/s3origin"
)

// The ETag of an object that was stored in one piece is the MD5 of its bytes, unless a key of
// KMS or of the customer encrypts it.
func TestSource_Open_VerifiesETag(t *testing.T) {
	right := fmt.Sprintf("%x", md5.Sum([]byte("hello")))
	wrong := fmt.Sprintf("%x", md5.Sum([]byte("other")))
	for _, c := range []struct {
		name    string
		etag    string
		headers []string
		cfg     s3origin.Config
		good    bool
	}{
		{"right", right, nil, s3origin.Config{}, true},
		{"wrong", wrong, nil, s3origin.Config{}, false},
		{"wrong, encrypted by S3", wrong, []string{"x-amz-server-side-encryption", "AES256"}, s3origin.Config{}, false},
		{"KMS", wrong, []string{"x-amz-server-side-encryption", "aws:kms"}, s3origin.Config{}, true},
		{"customer's key", wrong, []string{"x-amz-server-side-encryption-customer-algorithm", "AES256"},
			s3origin.Config{}, true},
		{"in parts", wrong + "-2", nil, s3origin.Config{}, true},
		{"opaque", wrong, nil, s3origin.Config{OpaqueETags: true}, true},
		{"with a checksum", wrong, []string{"x-amz-checksum-crc32", "NhCmhg=="}, s3origin.Config{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, _ := sourceOf(t, c.cfg, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("ETag", `"`+c.etag+`"`)
				for i := 0; i < len(c.headers); i += 2 {
					w.Header().Set(c.headers[i], c.headers[i+1])
				}
				fmt.Fprint(w, "hello")
			})
			_, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9)
			if c.good && err != nil || !c.good && !errors.Is(err, origin.ErrDigest) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A body that arrives damaged once is fetched again.
func TestSource_Open_DamagedOnce(t *testing.T) {
	var mu sync.Mutex
	first := true
	src, requests := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum([]byte("hello"))))
		body := "hello"
		if first {
			body, first = "hexlo", false
		}
		fmt.Fprint(w, body)
	})
	retried := origin.Retry(src, origin.RetryConfig{Pause: time.Millisecond})
	got, err := origin.ReadAll(t.Context(), retried, "a", origin.Cond{}, 9)
	if err != nil || string(got.Body) != "hello" || requests.Load() != 2 {
		t.Errorf("got %q, error %v after %d requests", got.Body, err, requests.Load())
	}
}

func TestSource_Open_Gzip(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", false)
	var coded bytes.Buffer
	w := gzip.NewWriter(&coded)
	fmt.Fprint(w, strings.Repeat("hello", 1000))
	w.Close()
	encoded := func(coding string) func(*s3.PutObjectInput) {
		return func(in *s3.PutObjectInput) { in.ContentEncoding = aws.String(coding) }
	}
	server.Put(t, "posts", "zipped", coded.Bytes(), encoded("gzip"))
	server.Put(t, "posts", "named", []byte("hello"), encoded("utf-8"))
	src := newSource(t, onServer(server, "posts", ""))
	for name, want := range map[string]string{"zipped": strings.Repeat("hello", 1000), "named": "hello"} {
		got, err := origin.ReadAll(t.Context(), src, name, origin.Cond{}, 5000)
		if err != nil || string(got.Body) != want || got.Decoded != (name == "zipped") {
			t.Errorf("%s: %d bytes, decoded %v, error %v", name, len(got.Body), got.Decoded, err)
		}
		if head, err := src.Head(t.Context(), name); err != nil || (head.Size == -1) != (name == "zipped") {
			t.Errorf("%s: head %+v, %v", name, head, err)
		}
	}
	if _, err := origin.ReadAll(t.Context(), src, "zipped", origin.Cond{}, 4999); !errors.Is(err, origin.ErrTooLarge) {
		t.Errorf("over the limit: error %v", err)
	}
}

// Backblaze B2 refuses x-amz-checksum-mode; the Source then stops sending it.
func TestSource_Open_ChecksumModeRefused(t *testing.T) {
	src, requests := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-amz-checksum-mode") == "" {
			fmt.Fprint(w, "hello")
			return
		}
		refuseChecksumMode(w)
	})
	for i, want := range []int64{2, 3} {
		_, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9)
		if err != nil || requests.Load() != want {
			t.Errorf("%d: error %v after %d requests, want %d", i, err, requests.Load(), want)
		}
	}
}

func refuseChecksumMode(w http.ResponseWriter) {
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprint(w, `<Error><Code>InvalidArgument</Code>`+
		`<Message>Unsupported header 'x-amz-checksum-mode' received for this API call.</Message></Error>`)
}

// The second of two concurrent requests is refused after the first one has been repeated.
func TestSource_Open_ChecksumModeRefusedTwice(t *testing.T) {
	both, repeated := make(chan struct{}), make(chan struct{})
	firstRepeated := sync.OnceFunc(func() { close(repeated) })
	var refused atomic.Int64
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("x-amz-checksum-mode") == "":
			firstRepeated()
			fmt.Fprint(w, "hello")
			return
		case refused.Add(1) == 1:
			<-both
		default:
			close(both)
			<-repeated
		}
		refuseChecksumMode(w)
	})
	var requests sync.WaitGroup
	for range 2 {
		requests.Go(func() {
			if _, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9); err != nil {
				t.Error(err)
			}
		})
	}
	requests.Wait()
}

func TestSource_Open_ChecksumsOff(t *testing.T) {
	t.Setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
	mode := "-"
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, r *http.Request) {
		mode = r.Header.Get("x-amz-checksum-mode")
		fmt.Fprint(w, "hello")
	})
	if _, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9); err != nil || mode != "" {
		t.Errorf("checksum mode %q, error %v", mode, err)
	}
}

// Google Cloud Storage changes Accept-Encoding, so it may not be part of the signature.
func TestSource_Open_SignedHeaders(t *testing.T) {
	var got http.Header
	src, _ := sourceOf(t, s3origin.Config{RequesterPays: true}, func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
	})
	if _, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9); err != nil {
		t.Fatal(err)
	}
	signed := got.Get("Authorization")
	if strings.Contains(signed, "accept-encoding") || !strings.Contains(signed, "x-amz-checksum-mode") {
		t.Errorf("signed headers: %s", signed)
	}
	if got.Get("Accept-Encoding") != "identity" || got.Get("X-Amz-Request-Payer") != "requester" {
		t.Errorf("sent %v", got)
	}
}

// A file of credentials that another process replaces is read again.
func TestSource_Open_RotatedCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(key string) {
		text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = secret\n", key)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	write("FIRST")
	var mu sync.Mutex
	used, valid := "", "FIRST"
	server := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		used = r.Header.Get("Authorization")
		if !strings.Contains(used, "Credential="+valid+"/") {
			answerError(http.StatusBadRequest, "ExpiredToken")(w, r)
		}
	}
	src := fromEnvironment(t, server)
	if _, err := src.Open(t.Context(), "a", origin.Cond{}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	valid = "SECOND"
	mu.Unlock()
	if _, err := src.Open(t.Context(), "a", origin.Cond{}); !errors.Is(err, origin.ErrExpired) {
		t.Fatalf("with the old credentials: error %v", err)
	}
	write("SECOND")
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) { // files are looked at once a second
		_, err := src.Open(t.Context(), "a", origin.Cond{})
		if err == nil {
			break
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("still refused with %s: %v", used, err)
		}
	}
}
