package sourceurl

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]Source{
		"dir:///srv/photos":                {Kind: Dir, Path: "/srv/photos"},
		"dir:///srv/photos/?originals=yes": {Kind: Dir, Path: "/srv/photos", Originals: true},
		"dir:///srv/ph%20otos%3F?":         {Kind: Dir, Path: "/srv/ph otos?"},
		"dir:///a/../b?originals=no":       {Kind: Dir, Path: "/b"},
		"dir:///":                          {Kind: Dir, Path: "/"},
		"s3://bucket":                      {Kind: S3, Bucket: "bucket"},
		"s3://bucket/":                     {Kind: S3, Bucket: "bucket"},
		"s3://my.bucket_1/a/b":             {Kind: S3, Bucket: "my.bucket_1", Prefix: "a/b/"},
		"s3://bucket/a/b/?missing=403": {Kind: S3, Bucket: "bucket",
			Prefix: "a/b/", MissingIs403: true},
		"s3://bucket/a?missing=404": {Kind: S3, Bucket: "bucket", Prefix: "a/"},
		"s3://bucket/a%20b%2Bc+d":   {Kind: S3, Bucket: "bucket", Prefix: "a b+c+d/"},
		"s3://bucket?request-payer=yes&etag=opaque": {
			Kind: S3, Bucket: "bucket", OpaqueETags: true, RequesterPays: true,
		},
		"s3://Bucket?path-style=false":   {Kind: S3, Bucket: "Bucket"},
		"s3://b-1/?region=eu-central-1":  {Kind: S3, Bucket: "b-1", Region: "eu-central-1"},
		"http://example.com":             {Kind: HTTP, Base: "http://example.com/"},
		"https://example.com/a%2Fb?":     {Kind: HTTP, Base: "https://example.com/a%2Fb/"},
		"https://example.com:8443/a/":    {Kind: HTTP, Base: "https://example.com:8443/a/"},
		"http://[::1]:80/?originals=yes": {Kind: HTTP, Base: "http://[::1]:80/", Originals: true},
		"https://a.com/?redirect=b.com&redirect=c:8443": {Kind: HTTP,
			Base: "https://a.com/", RedirectHosts: []string{"b.com", "c:8443"}},
		"s3://bucket/p?region=r-1&endpoint=http://127.0.0.1:7070&path-style=true&originals=yes&missing=403": {
			Kind: S3, Bucket: "bucket", Prefix: "p/", Region: "r-1",
			Endpoint: "http://127.0.0.1:7070", PathStyle: true, MissingIs403: true,
			Originals: true},
		"s3://bucket?endpoint=https%3A%2F%2Fs3.example.com%2Fbase": {Kind: S3,
			Bucket: "bucket", Endpoint: "https://s3.example.com/base"},
	} {
		got, err := Parse(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", raw, got, err, want)
		}
	}
}

func TestParse_Errors(t *testing.T) {
	for raw, want := range map[string][]string{
		"":                                    {"not the URL of a source", "dir:///path"},
		"/srv/photos":                         {"not the URL of a source"},
		"ftp://example.com/":                  {"not the URL of a source"},
		"S4://bucket":                         {"not the URL of a source"},
		"http://[::1":                         {"not a URL"},
		"http://a b/":                         {"not a URL"},
		"dir://srv/photos":                    {"absolute", "dir:///srv/photos"},
		"dir:srv":                             {"absolute", "dir:///srv"},
		"dir://":                              {"no path"},
		"dir:///a%00b":                        {"NUL"},
		"dir:///a?region=x":                   {`unknown parameter "region"`, "originals"},
		"dir:///a?originals=1":                {"originals=1", "want yes or no"},
		"dir:///a?originals=yes&originals=no": {`"originals" is repeated`},
		"dir:///a#b":                          {"#b", "fragment"},
		"dir:///a?x=%zz":                      {"%zz"},
		"s3:///prefix":                        {"no bucket"},
		"s3://ab":                             {"3 to 63"},
		"s3://a..b":                           {"single dots"},
		"s3://buck:80/":                       {"single dots"},
		"s3://key:secret@bucket/":             {"user and password are not allowed"},
		"s3://bucket?regoin=x": {`unknown parameter "regoin"`,
			"originals, region, endpoint, path-style, missing, etag, request-payer"},
		"s3://bucket?region=":                    {"region="},
		"s3://bucket?region=EU%20west":           {"region=EU west"},
		"s3://bucket?endpoint=":                  {"endpoint", "want http://host:port"},
		"s3://bucket?endpoint=minio:9000":        {"endpoint", "want http://host:port"},
		"s3://bucket?endpoint=http://k:s3cret@h": {"AWS_ACCESS_KEY_ID"},
		"s3://bucket?path-style=yes":             {"path-style=yes", "want true or false"},
		"s3://bucket?missing=yes":                {"missing=yes", "want 403 or 404"},
		"http:///path":                           {"no host"},
		"https:opaque":                           {"no host"},
		"http://user:s3cret@host/":               {"user and password are not allowed"},
		"http://host/?region=x":                  {`unknown parameter "region"`, "originals, missing, redirect"},
		"http://host/?missing=404x":              {"missing=404x", "want 403 or 404"},
		"s3://bucket//":                          {"empty", "write s3://bucket/"},
		"s3://bucket/photos//":                   {"empty", "write s3://bucket/photos"},
		"s3://bucket//photos":                    {"empty", "write s3://bucket/photos"},
		"s3://bucket/photos/../other":            {"..", "write s3://bucket/other"},
		"s3://bucket/./photos/":                  {"..", "write s3://bucket/photos"},
		"http://host/a/../b":                     {".. segment"},
		"http://host/a//b":                       {"empty"},
		"http://host/?redirect=":                 {"redirect"},
		"http://host/?redirect=https://b.com":    {"redirect", "https://b.com"},
		"s3://ab?path-style=1&missing=1&x=1&y=2&originals=maybe": {"3 to 63",
			"path-style=1", "missing=1", `"x"`, `"y"`, "originals=maybe"},
	} {
		got, err := Parse(raw)
		if err == nil {
			t.Errorf("%s: accepted as %+v", raw, got)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", raw, err, w)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error contains the password: %v", raw, err)
		}
	}
}

// FuzzParse checks that the parts of an accepted URL are complete and contain no separators.
func FuzzParse(f *testing.F) {
	f.Add("s3://bucket/p?region=r-1&endpoint=http://127.0.0.1:7070&path-style=true&originals=yes&missing=403")
	f.Add("dir:///srv/photos?originals=yes")
	f.Add("https://a.com/b?redirect=b.com&redirect=c:8443")
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := Parse(raw)
		if err != nil {
			return
		}
		switch s.Kind {
		case Dir:
			if !strings.HasPrefix(s.Path, "/") || strings.Contains(s.Path+"/", "/../") {
				t.Errorf("%q: path %q", raw, s.Path)
			}
		case S3:
			if s.Bucket == "" || strings.ContainsAny(s.Bucket, "/?#@:") ||
				s.Prefix != "" && !strings.HasSuffix(s.Prefix, "/") {
				t.Errorf("%q: bucket %q, prefix %q", raw, s.Bucket, s.Prefix)
			}
		case HTTP:
			if !strings.HasSuffix(s.Base, "/") || strings.ContainsAny(s.Base, "?#@ ") {
				t.Errorf("%q: base %q", raw, s.Base)
			}
		default:
			t.Errorf("%q: kind %d", raw, s.Kind)
		}
	})
}
