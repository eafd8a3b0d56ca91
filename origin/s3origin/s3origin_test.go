package s3origin_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/origintest"
	"github.com/novasocial/imagetier/origin/origintest/s3server"
	"github.com/novasocial/imagetier/origin/s3origin"
)

// TestMain removes the AWS configuration of the machine.
func TestMain(m *testing.M) {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("AWS_CONFIG_FILE", os.DevNull)
	os.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	os.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	os.Exit(m.Run())
}

func newSource(t *testing.T, cfg s3origin.Config) *s3origin.Source {
	t.Helper()
	if cfg.Credentials == nil {
		cfg.Credentials = credentials.NewStaticCredentialsProvider("key", "secret", "")
	}
	src, err := s3origin.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func onServer(s *s3server.Server, bucket, prefix string) s3origin.Config {
	return s3origin.Config{
		Bucket: bucket, Prefix: prefix, Region: s.Region, Endpoint: s.Endpoint, PathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
	}
}

func TestSource_Conformance(t *testing.T) {
	server := s3server.Start(t)
	var buckets atomic.Int64
	for _, versions := range []bool{true, false} {
		for _, prefix := range []string{"", "posts/"} {
			t.Run(fmt.Sprintf("versions=%v,prefix=%q", versions, prefix), func(t *testing.T) {
				origintest.Run(t, func(t *testing.T) origintest.Origin {
					bucket := fmt.Sprintf("bucket-%d", buckets.Add(1))
					server.Bucket(t, bucket, versions)
					o := origintest.Origin{
						Source: newSource(t, onServer(server, bucket, prefix)),
						Put: func(t testing.TB, name string, body []byte) {
							server.Put(t, bucket, prefix+name, body)
						},
						Delete: func(t testing.TB, name string) { server.Delete(t, bucket, prefix+name) },
						Date: func(t testing.TB, name string, modified time.Time) {
							server.Date(t, bucket, prefix+name, modified)
						},
						Names: origintest.OddNames(),
						BadNames: []string{
							"../a",
							"a/../b",
							"..",
							"./a",
							"a\x00b",
							"not \xff UTF-8",
							strings.Repeat("x", 1025),
						},
					}
					if versions {
						o.PutVersion = func(t testing.TB, name string, body []byte) string {
							return server.Put(t, bucket, prefix+name, body).VersionID
						}
					}
					return o
				})
			})
		}
	}
}

// A valid name whose key is too long only because of the prefix is missing, not invalid.
func TestSource_Open_TooLongWithPrefix(t *testing.T) {
	src, _ := sourceOf(t, s3origin.Config{Prefix: "media/"}, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the store is asked for %s", r.URL)
	})
	name := strings.Repeat("x", 1024-len("media/")+1)
	_, opened := src.Open(t.Context(), name, origin.Cond{})
	_, headed := src.Head(t.Context(), name)
	for call, err := range map[string]error{"Open": opened, "Head": headed, "CheckName": src.CheckName(name)} {
		if !errors.Is(err, origin.ErrNotFound) || errors.Is(err, origin.ErrName) {
			t.Errorf("%s: error %v", call, err)
		}
	}
	if err := src.CheckName(name[1:]); err != nil {
		t.Errorf("a key of 1,024 bytes: %v", err)
	}
}

func TestSource_Open_DeleteMarker(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", true)
	server.Put(t, "posts", "a", []byte("a"))
	marker := server.Delete(t, "posts", "a")
	src := newSource(t, onServer(server, "posts", ""))
	for _, cond := range []origin.Cond{{}, {VersionID: marker}} {
		if _, err := src.Open(t.Context(), "a", cond); !errors.Is(err, origin.ErrNotFound) {
			t.Errorf("with %+v: error %v", cond, err)
		}
	}
}

func TestSource_Open_Freshness(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", false)
	server.Put(t, "posts", "default", nil)
	server.Put(
		t,
		"posts",
		"max-age",
		nil,
		func(in *s3.PutObjectInput) { in.CacheControl = aws.String("max-age=60, stale-if-error=90") },
	)
	server.Put(t, "posts", "private", nil, func(in *s3.PutObjectInput) { in.CacheControl = aws.String("private") })
	server.Put(t, "posts", "expired", nil, func(in *s3.PutObjectInput) { in.Expires = aws.Time(time.Unix(1e9, 0)) })
	src := newSource(t, onServer(server, "posts", ""))
	for name, want := range map[string]origin.Freshness{
		"default": {Silent: true},
		"max-age": {Lifetime: time.Minute, StaleIfError: 90 * time.Second},
		"private": {NoStore: true},
		"expired": {},
	} {
		obj, err := src.Open(t.Context(), name, origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		obj.Body.Close()
		if obj.Fresh.Age > time.Minute || time.Since(obj.Fresh.Received) > time.Minute {
			t.Errorf("%s: age %v at %v", name, obj.Fresh.Age, obj.Fresh.Received)
		}
		obj.Fresh.Age, obj.Fresh.Received = 0, time.Time{}
		if obj.Fresh != want {
			t.Errorf("%s: got %+v, want %+v", name, obj.Fresh, want)
		}
	}
}

func TestSource_Open_MultipartObject(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", false)
	client, part := server.Client(), origintest.Bytes(1, 5<<20)
	created, err := client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{
		Bucket: aws.String("posts"), Key: aws.String("a"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n := int32(1); n <= 2; n++ {
		up, err := client.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: aws.String("posts"), Key: aws.String("a"), UploadId: created.UploadId, PartNumber: &n,
			Body: bytes.NewReader(part), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: up.ETag, PartNumber: &n, ChecksumCRC32: up.ChecksumCRC32})
	}
	done, err := client.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{
		Bucket: aws.String("posts"), Key: aws.String("a"), UploadId: created.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
	etag := strings.Trim(*done.ETag, `"`)
	if !strings.HasSuffix(etag, "-2") {
		t.Fatalf("entity tag %s, want one of two parts", etag)
	}
	got, err := origin.ReadAll(
		t.Context(),
		newSource(t, onServer(server, "posts", "")),
		"a",
		origin.Cond{Match: etag},
		10<<20,
	)
	if err != nil || !bytes.Equal(got.Body, append(part, part...)) {
		t.Errorf("%d bytes, error %v", len(got.Body), err)
	}
}

func TestSource_Open_WrongSecret(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", false)
	cfg := onServer(server, "posts", "")
	cfg.Credentials = credentials.NewStaticCredentialsProvider(server.AccessKey, "wrong", "")
	cfg.MissingIs403 = true
	if _, err := newSource(t, cfg).Open(t.Context(), "a", origin.Cond{}); !errors.Is(err, origin.ErrDenied) {
		t.Errorf("error %v", err)
	}
}

func TestSource_Open_ServerStopped(t *testing.T) {
	server := s3server.Start(t)
	server.Bucket(t, "posts", false)
	src := newSource(t, onServer(server, "posts", ""))
	server.Stop()
	if _, err := src.Open(t.Context(), "a", origin.Cond{}); !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// sourceOf returns a Source whose server is answer, and the number of its requests.
func sourceOf(t *testing.T, cfg s3origin.Config, answer http.HandlerFunc) (*s3origin.Source, *atomic.Int64) {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	cfg.Bucket, cfg.Region, cfg.Endpoint, cfg.PathStyle = "posts", "us-east-1", server.URL, true
	return newSource(t, cfg), &requests
}

// fromEnvironment returns a Source with the standard chain of credentials.
func fromEnvironment(t *testing.T, answer http.HandlerFunc) *s3origin.Source {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	src, err := s3origin.New(t.Context(), s3origin.Config{
		Bucket: "posts", Region: "us-east-1", Endpoint: server.URL, PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func answerError(status int, code string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		if code != "" {
			fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>m</Message></Error>`,
				code)
		}
	}
}

func TestSource_Open_ErrorCodes(t *testing.T) {
	pinned, version := origin.Cond{Match: "x"}, origin.Cond{VersionID: "x"}
	for _, c := range []struct {
		status  int
		code    string
		cond    origin.Cond
		hidden  bool // MissingIs403
		headers []string
		want    error
	}{
		{status: 404, code: "NoSuchKey", want: origin.ErrNotFound},
		{status: 404, code: "NoSuchKey", cond: pinned, want: origin.ErrNotFound},
		{status: 404, code: "NoSuchVersion", cond: version, want: origin.ErrNotFound},
		{status: 400, code: "InvalidArgument", cond: version, want: origin.ErrNotFound},
		{status: 400, code: "InvalidArgument", want: origin.ErrRejected},
		{status: 404, code: "NoSuchKey", headers: []string{"x-amz-delete-marker", "true"}, want: origin.ErrNotFound},
		{status: 405, code: "MethodNotAllowed", cond: version,
			headers: []string{"x-amz-delete-marker", "true"}, want: origin.ErrNotFound},
		{status: 405, code: "MethodNotAllowed", want: origin.ErrRejected},
		{status: 451, want: origin.ErrRejected},
		{status: 404, want: origin.ErrRejected},
		{status: 404, code: "NotFound", want: origin.ErrRejected},
		{status: 404, code: "InvalidAccessKeyId", hidden: true, want: origin.ErrCredentials},
		{status: 404, code: "NoSuchBucket", want: origin.ErrNoBucket},
		{status: 412, code: "PreconditionFailed", cond: pinned, want: origin.ErrChanged},
		{status: 403, code: "AccessDenied", want: origin.ErrDenied},
		{status: 403, code: "AccessDenied", hidden: true, want: origin.ErrNotFound},
		{status: 403, code: "SignatureDoesNotMatch", hidden: true, want: origin.ErrDenied},
		{status: 403, code: "SignatureDoesNotMatch", hidden: true, want: origin.ErrCredentials},
		{status: 403, code: "InvalidAccessKeyId", hidden: true, want: origin.ErrDenied},
		{status: 403, code: "RequestTimeTooSkewed", hidden: true, want: origin.ErrDenied},
		{status: 403, code: "RequestTimeTooSkewed", hidden: true, want: origin.ErrClock},
		{status: 403, code: "AllAccessDisabled", hidden: true, want: origin.ErrDenied},
		{status: 403, code: "InvalidObjectState", hidden: true, want: origin.ErrDenied},
		{status: 400, code: "ExpiredToken", want: origin.ErrDenied},
		{status: 400, code: "ExpiredToken", want: origin.ErrExpired},
		{status: 401, code: "Unauthorized", want: origin.ErrDenied},
		{status: 400, code: "KeyTooLongError", want: origin.ErrName},
		{status: 400, code: "AuthorizationHeaderMalformed", want: origin.ErrRegion},
		{status: 301, code: "PermanentRedirect", want: origin.ErrRegion},
		{status: 301, code: "PermanentRedirect", want: origin.ErrUnavailable},
		{status: 400, code: "RequestTimeout", want: origin.ErrBusy},
		{status: 500, code: "InternalError", want: origin.ErrUnavailable},
		{status: 503, code: "SlowDown", want: origin.ErrBusy},
		{status: 503, want: origin.ErrBusy},
		{status: 429, code: "TooManyRequests", want: origin.ErrBusy},
		{status: 200, code: "", cond: pinned, want: origin.ErrChanged},
		{status: 206, code: "", want: origin.ErrRejected},
		{status: 204, code: "", want: origin.ErrRejected},
		{status: 304, code: "", want: origin.ErrRejected}, // unconditional request
		{
			status: 304, cond: origin.Cond{NoneMatch: `"x"`}, headers: []string{"ETag", `"y"`},
			want: origin.ErrRejected,
		},
		{
			status: 304, cond: origin.Cond{NoneMatch: `"x"`}, headers: []string{"ETag", `"x"`},
			want: origin.ErrNotModified,
		},
		{status: 304, cond: origin.Cond{ModifiedSince: time.Now()}, want: origin.ErrNotModified},
	} {
		src, requests := sourceOf(
			t,
			s3origin.Config{MissingIs403: c.hidden},
			answerError(c.status, c.code, c.headers...),
		)
		_, err := src.Open(t.Context(), "a", c.cond)
		if !errors.Is(err, c.want) {
			t.Errorf("%d %s with %+v: error %v, want %v", c.status, c.code, c.cond, err, c.want)
		}
		if n := requests.Load(); n != 1 {
			t.Errorf("%d %s: %d requests", c.status, c.code, n)
		}
		if err != nil && strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%d %s: error names the host: %v", c.status, c.code, err)
		}
	}
}

func TestSource_Open_RetryAfter(t *testing.T) {
	src, _ := sourceOf(t, s3origin.Config{}, answerError(503, "SlowDown", "Retry-After", "7"))
	_, err := src.Open(t.Context(), "a", origin.Cond{})
	var busy *origin.Busy
	if !errors.As(err, &busy) || busy.RetryAfter != 7*time.Second {
		t.Errorf("error %v: %+v", err, busy)
	}
}

func TestSource_Open_IgnoredConditions(t *testing.T) {
	old := func(w http.ResponseWriter, _ *http.Request) { // supports neither If-Match nor versions
		w.Header().Set("ETag", `"now"`)
		fmt.Fprint(w, "now")
	}
	src, _ := sourceOf(t, s3origin.Config{}, old)
	if _, err := src.Open(t.Context(), "a", origin.Cond{Match: "then"}); !errors.Is(err, origin.ErrChanged) {
		t.Errorf("pinned by tag: error %v", err)
	}
	if _, err := src.Open(t.Context(), "a", origin.Cond{VersionID: "then"}); !errors.Is(err, origin.ErrNotFound) {
		t.Errorf("pinned by version: error %v", err)
	}
	if got, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{Match: "now"}, 9); err != nil ||
		string(got.Body) != "now" {
		t.Errorf("got %q, %v", got.Body, err)
	}
}

func TestSource_Open_KeysUnchanged(t *testing.T) {
	var target string
	src, _ := sourceOf(
		t,
		s3origin.Config{Prefix: "p/"},
		func(w http.ResponseWriter, r *http.Request) { target = r.RequestURI },
	)
	for name, want := range map[string]string{
		"a b":     "a%20b",
		"a+b":     "a%2Bb",
		"a%20b":   "a%2520b",
		"/a//b/":  "/a//b/",
		"é":       "%C3%A9",
		"a?b#c":   "a%3Fb%23c",
		"~*'()!;": "~%2A%27%28%29%21%3B",
		"\x01":    "%01",
	} {
		obj, err := src.Open(t.Context(), name, origin.Cond{})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		obj.Body.Close()
		if path, _, _ := strings.Cut(target, "?"); path != "/posts/p/"+want {
			t.Errorf("%q arrives as %s, want %s", name, path, "/posts/p/"+want)
		}
	}
}

func TestSource_Open_ChecksumMismatch(t *testing.T) {
	const sum = "mnG7TA==" // not the CRC32 of "hello", which is 3610a686
	for name, headers := range map[string]map[string]string{
		"CRC32":  {"x-amz-checksum-crc32": sum},
		"SHA256": {"x-amz-checksum-sha256": base64.StdEncoding.EncodeToString(make([]byte, 32))},
		"CRC64":  {"x-amz-checksum-crc64nvme": base64.StdEncoding.EncodeToString(make([]byte, 8))},
	} {
		mode := ""
		src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, r *http.Request) {
			mode = r.Header.Get("x-amz-checksum-mode")
			for k, v := range headers {
				w.Header().Set(k, v)
			}
			fmt.Fprint(w, "hello")
		})
		if _, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9); !errors.Is(err, origin.ErrDigest) {
			t.Errorf("%s: error %v", name, err)
		}
		if mode != "ENABLED" {
			t.Errorf("%s: checksum mode %q", name, mode)
		}
	}
	// A checksum of checksums cannot be verified.
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amz-checksum-crc32", sum+"-2")
		fmt.Fprint(w, "hello")
	})
	if got, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 9); err != nil || string(got.Body) != "hello" {
		t.Errorf("composite: got %q, %v", got.Body, err)
	}
}

func TestSource_Open_TruncatedBody(t *testing.T) {
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "hello")
	})
	if _, err := origin.ReadAll(t.Context(), src, "a", origin.Cond{}, 1000); !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestSource_Open_EndlessError(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	})
	if _, err := src.Open(ctx, "a", origin.Cond{}); !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestSource_Open_CORSVary(t *testing.T) {
	src, _ := sourceOf(t, s3origin.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Vary", "Origin, Access-Control-Request-Headers, x-amz-anything")
		w.Header().Set("Last-Modified", "Sun, 22 Nov 2020 10:00:00 GMT")
	})
	obj, err := src.Open(t.Context(), "a", origin.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	obj.Body.Close()
	if obj.Fresh.NoStore || !obj.Fresh.Silent {
		t.Errorf("freshness %+v", obj.Fresh)
	}
}

func TestNew_BadConfig(t *testing.T) {
	for _, cfg := range []s3origin.Config{
		{Region: "us-east-1"},
		{Bucket: "posts"},
	} {
		if _, err := s3origin.New(t.Context(), cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
	config := s3origin.Config{Bucket: "posts", Endpoint: "http://127.0.0.1:1"}
	if _, err := s3origin.New(t.Context(), config); err != nil {
		t.Errorf("an endpoint needs no region: %v", err)
	}
}

// The answer to a HEAD has no code: a refused request is repeated as a GET.
func TestSource_Head_Refusals(t *testing.T) {
	for _, c := range []struct {
		status   int
		code     string
		hidden   bool
		requests int64
		want     error
	}{
		{404, "NoSuchKey", false, 2, origin.ErrNotFound},
		{404, "NoSuchBucket", false, 2, origin.ErrNoBucket},
		{404, "InvalidAccessKeyId", false, 2, origin.ErrCredentials},
		{403, "AccessDenied", false, 2, origin.ErrDenied},
		{403, "AccessDenied", true, 2, origin.ErrNotFound},
		{500, "InternalError", false, 1, origin.ErrUnavailable},
		{503, "SlowDown", false, 1, origin.ErrBusy},
	} {
		src, requests := sourceOf(t, s3origin.Config{MissingIs403: c.hidden}, answerError(c.status, c.code))
		if _, err := src.Head(t.Context(), "a"); !errors.Is(err, c.want) || requests.Load() != c.requests {
			t.Errorf("%d %s: error %v after %d requests, want %v", c.status, c.code, err, requests.Load(), c.want)
		}
	}
}

func TestSource_Open_NamesRegion(t *testing.T) {
	const text = `<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; ` +
		`the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message></Error>`
	for name, answer := range map[string]http.HandlerFunc{
		"message": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, text)
		},
		"header": answerError(301, "PermanentRedirect", "x-amz-bucket-region", "eu-central-1"),
	} {
		src, _ := sourceOf(t, s3origin.Config{}, answer)
		_, err := src.Open(t.Context(), "a", origin.Cond{})
		var wrong *origin.WrongRegion
		if !errors.As(err, &wrong) || wrong.Region != "eu-central-1" || !strings.Contains(err.Error(), "eu-central-1") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// If a request gets no answer, the error names the cause: for Open, Head and Sample.
func TestSource_NoAnswer_NamesCause(t *testing.T) {
	closes := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	closing, _ := sourceOf(t, s3origin.Config{}, closes)
	at := func(endpoint string) *s3origin.Source {
		return newSource(t, s3origin.Config{Bucket: "posts", Region: "us-east-1", Endpoint: endpoint, PathStyle: true})
	}
	noCredentials, err := s3origin.New(t.Context(), s3origin.Config{
		Bucket: "posts", Region: "us-east-1", Endpoint: gone.URL, PathStyle: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		src  *s3origin.Source
		kind error
		want error
	}{
		"closed early":   {closing, origin.ErrUnavailable, origin.ErrConnReset},
		"refused":        {at(gone.URL), origin.ErrUnavailable, origin.ErrConnRefused},
		"no such host":   {at("http://imagetier.invalid"), origin.ErrUnavailable, origin.ErrNoHost},
		"TLS":            {at("https" + strings.TrimPrefix(plain.URL, "http")), origin.ErrUnavailable, origin.ErrTLS},
		"no credentials": {noCredentials, origin.ErrDenied, origin.ErrNoCredentials},
	} {
		_, open := c.src.Open(t.Context(), "a", origin.Cond{})
		_, head := c.src.Head(t.Context(), "a")
		_, sample := c.src.Sample(t.Context(), 1)
		for _, err := range []error{open, head, sample} {
			if !errors.Is(err, c.want) || !errors.Is(err, c.kind) || strings.Contains(err.Error(), "status 0") {
				t.Errorf("%s: error %v, want %v", name, err, c.want)
			}
		}
	}
}
