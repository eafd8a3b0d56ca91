// Package origintest is the conformance suite of origin.Source. Start reading at Run.
package origintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// Origin is a Source under test and the functions that change its originals. Each test of
// the suite gets a new, empty one.
type Origin struct {
	Source origin.Source
	// Put creates or replaces an original. The Source sees it when Put has returned.
	Put func(t testing.TB, name string, body []byte)
	// Delete removes an original.
	Delete func(t testing.TB, name string)
	// Date sets when an original was last modified, to the second.
	Date func(t testing.TB, name string, modified time.Time)
	// PutVersion is Put and returns the version id. nil if the Source has no versions.
	PutVersion func(t testing.TB, name string, body []byte) (id string)
	// PutWeak is Put of an original with a weak entity tag. nil if the Source has no
	// weak tags.
	PutWeak func(t testing.TB, name string, body []byte)
	// PutBare is Put of an original without an entity tag. nil if every original of
	// the Source has one.
	PutBare func(t testing.TB, name string, body []byte)
	// Names are unusual names that the Source must serve, in its own spelling. Each
	// names a different original.
	Names []string
	// BadNames are names that the Source must refuse with ErrName.
	BadNames []string
}

// Run runs the suite. newOrigin is called once for every test of it.
func Run(t *testing.T, newOrigin func(t *testing.T) Origin) {
	for _, test := range []struct {
		name string
		f    func(t *testing.T, o Origin)
	}{
		{"Open_Existing", testExisting},
		{"Open_Missing", testMissing},
		{"Open_Replaced", testReplaced},
		{"Open_PinnedTag", testPinnedTag},
		{"Open_WeakOrMissingTag", testWeakOrMissingTag},
		{"Open_NoneMatch", testNoneMatch},
		{"Open_ModifiedSince", testModifiedSince},
		{"Open_Version", testVersion},
		{"Open_OddNames", testOddNames},
		{"Open_BadNames", testBadNames},
		{"Open_Empty", testEmpty},
		{"Open_Large", testLarge},
		{"Open_ContextDone", testContextDone},
		{"Open_Concurrent", testConcurrent},
		{"Open_BodyNotRead", testBodyNotRead},
		{"Head", testHead},
	} {
		t.Run(test.name, func(t *testing.T) { test.f(t, newOrigin(t)) })
	}
}

// Bytes returns n incompressible bytes, the same ones for the same seed.
func Bytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

// open opens an original, reads it to the end and closes it.
func open(ctx context.Context, o Origin, name string, cond origin.Cond) (*origin.Object, []byte, error) {
	obj, err := o.Source.Open(ctx, name, cond)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(obj.Body)
	return obj, body, errors.Join(err, obj.Body.Close())
}

// wantBody fails the test unless the original called name has the given body.
func wantBody(t *testing.T, o Origin, name string, cond origin.Cond, body []byte) *origin.Object {
	t.Helper()
	obj, got, err := open(t.Context(), o, name, cond)
	if err != nil {
		t.Fatalf("open %q with %+v: %v", name, cond, err)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("open %q with %+v: got %d bytes %.40q, want %d bytes %.40q",
			name, cond, len(got), got, len(body), body)
	}
	if obj.Size != -1 && obj.Size != int64(len(body)) {
		t.Errorf("open %q: size %d, but %d bytes", name, obj.Size, len(body))
	}
	return obj
}

// wantError fails the test unless opening name fails with target.
func wantError(t *testing.T, o Origin, name string, cond origin.Cond, target error) {
	t.Helper()
	_, got, err := open(t.Context(), o, name, cond)
	if err == nil {
		t.Fatalf("open %q with %+v: got %.40q, want error %q", name, cond, got, target)
	}
	if !errors.Is(err, target) {
		t.Fatalf("open %q with %+v: error %q, want %q", name, cond, err, target)
	}
}

// tag returns the strong entity tag of obj without its quotes.
func tag(t *testing.T, obj *origin.Object) string {
	t.Helper()
	if !origin.ValidETag(obj.ETag) || obj.ETag[0] != '"' {
		t.Fatalf("entity tag %s is not strong", obj.ETag)
	}
	return strings.Trim(obj.ETag, `"`)
}

func testExisting(t *testing.T, o Origin) {
	want := Bytes(1, 4321)
	o.Put(t, "2026/11/abc.jpg", want)
	obj := wantBody(t, o, "2026/11/abc.jpg", origin.Cond{}, want)
	if obj.Size != int64(len(want)) {
		t.Errorf("size %d, want %d", obj.Size, len(want))
	}
	tag(t, obj)
	if age := time.Since(obj.LastModified); age < -time.Minute || age > time.Hour {
		t.Errorf("last modified %v: %v ago", obj.LastModified, age)
	}
}

func testMissing(t *testing.T, o Origin) {
	o.Put(t, "here/a.jpg", []byte("here"))
	for _, name := range []string{
		"a.jpg", "here/b.jpg", "here", "here/a.jpg/b", strings.Repeat("long/", 150) + "a.jpg",
	} {
		wantError(t, o, name, origin.Cond{}, origin.ErrNotFound)
	}
	wantError(t, o, "here/b.jpg", origin.Cond{NoneMatch: `"x"`}, origin.ErrNotFound)
	wantError(t, o, "here/b.jpg", origin.Cond{VersionID: "x"}, origin.ErrNotFound)
	o.Delete(t, "here/a.jpg")
	wantError(t, o, "here/a.jpg", origin.Cond{}, origin.ErrNotFound)
}

func testReplaced(t *testing.T, o Origin) {
	var tags []string
	for i := range 4 {
		// The second and third have the same length, as after an edit in place.
		want := []byte(fmt.Sprintf("%*d", 3+i/2, i))
		o.Put(t, "a.jpg", want)
		obj := wantBody(t, o, "a.jpg", origin.Cond{}, want)
		for _, before := range tags {
			if before == obj.ETag {
				t.Errorf("different contents have the same entity tag %s", before)
			}
		}
		tags = append(tags, obj.ETag)
	}
}

func testPinnedTag(t *testing.T, o Origin) {
	o.Put(t, "a.jpg", []byte("first"))
	pin := origin.Cond{Match: tag(t, wantBody(t, o, "a.jpg", origin.Cond{}, []byte("first")))}
	wantBody(t, o, "a.jpg", pin, []byte("first"))
	for _, other := range []string{
		"x", "0123456789abcdef0123456789abcdef",
		"W/" + pin.Match, `"` + pin.Match + `"`, `W/"` + pin.Match + `"`, "*",
		pin.Match + `", "x`, "a\r\nX-Injected: 1",
		strings.ToUpper(pin.Match) + "A", " " + pin.Match, strings.Repeat("a", 200),
	} {
		wantError(t, o, "a.jpg", origin.Cond{Match: other}, origin.ErrChanged)
	}
	o.Put(t, "a.jpg", []byte("other"))
	wantError(t, o, "a.jpg", pin, origin.ErrChanged)
	o.Put(t, "a.jpg", []byte("first"))
	wantBody(t, o, "a.jpg", origin.Cond{}, []byte("first"))
}

func testWeakOrMissingTag(t *testing.T, o Origin) {
	if o.PutWeak == nil && o.PutBare == nil {
		t.Skip("all entity tags of this source are strong")
	}
	if o.PutWeak != nil {
		o.PutWeak(t, "weak.jpg", []byte("weak"))
		obj := wantBody(t, o, "weak.jpg", origin.Cond{}, []byte("weak"))
		if !strings.HasPrefix(obj.ETag, `W/"`) {
			t.Fatalf("entity tag %s is not weak", obj.ETag)
		}
		wantError(t, o, "weak.jpg", origin.Cond{Match: strings.Trim(obj.ETag, `W/"`)}, origin.ErrChanged)
		wantError(t, o, "weak.jpg", origin.Cond{NoneMatch: obj.ETag}, origin.ErrNotModified)
	}
	if o.PutBare != nil {
		o.PutBare(t, "bare.jpg", []byte("bare"))
		if obj := wantBody(t, o, "bare.jpg", origin.Cond{}, []byte("bare")); obj.ETag != "" {
			t.Fatalf("entity tag %q, want no tag", obj.ETag)
		}
		wantError(t, o, "bare.jpg", origin.Cond{Match: "x"}, origin.ErrChanged)
	}
}

func testNoneMatch(t *testing.T, o Origin) {
	o.Put(t, "a.jpg", []byte("first"))
	obj := wantBody(t, o, "a.jpg", origin.Cond{}, []byte("first"))
	for _, cond := range []origin.Cond{
		{NoneMatch: obj.ETag},
		{NoneMatch: obj.ETag, ModifiedSince: obj.LastModified},
	} {
		_, _, err := open(t.Context(), o, "a.jpg", cond)
		var nm *origin.NotModified
		if !errors.Is(err, origin.ErrNotModified) || !errors.As(err, &nm) {
			t.Fatalf("with %+v: error %v, want NotModified", cond, err)
		}
		if nm.ETag != obj.ETag {
			t.Errorf("entity tag %s, want %s", nm.ETag, obj.ETag)
		}
	}
	wantBody(t, o, "a.jpg", origin.Cond{NoneMatch: `"another"`}, []byte("first"))
	o.Put(t, "a.jpg", []byte("other"))
	wantBody(t, o, "a.jpg", origin.Cond{NoneMatch: obj.ETag}, []byte("other"))
	wantBody(t, o, "a.jpg", origin.Cond{NoneMatch: obj.ETag, ModifiedSince: time.Now()}, []byte("other"))
}

func testModifiedSince(t *testing.T, o Origin) {
	o.Put(t, "a.jpg", []byte("first"))
	modified := time.Now().Add(-time.Hour).Truncate(time.Second)
	o.Date(t, "a.jpg", modified)
	if obj := wantBody(t, o, "a.jpg", origin.Cond{}, []byte("first")); !obj.LastModified.Equal(modified) {
		t.Fatalf("last modified %v, want %v", obj.LastModified, modified)
	}
	wantError(t, o, "a.jpg", origin.Cond{ModifiedSince: modified}, origin.ErrNotModified)
	wantError(t, o, "a.jpg", origin.Cond{ModifiedSince: modified.Add(time.Minute)}, origin.ErrNotModified)
	wantBody(t, o, "a.jpg", origin.Cond{ModifiedSince: modified.Add(-time.Second)}, []byte("first"))
	// The tag takes precedence over the time (RFC 9110, 13.2.2).
	wantBody(t, o, "a.jpg", origin.Cond{NoneMatch: `"another"`, ModifiedSince: modified}, []byte("first"))
}

func testVersion(t *testing.T, o Origin) {
	if o.PutVersion == nil {
		o.Put(t, "a.jpg", []byte("first"))
		for _, id := range []string{"1", "null", "3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY+MTRCxf3vjVBH40Nr8X8gdRQBpUMLUo"} {
			wantError(t, o, "a.jpg", origin.Cond{VersionID: id}, origin.ErrNotFound)
		}
		return
	}
	first := o.PutVersion(t, "a.jpg", []byte("first"))
	second := o.PutVersion(t, "a.jpg", []byte("other"))
	other := o.PutVersion(t, "b.jpg", []byte("b"))
	wantBody(t, o, "a.jpg", origin.Cond{VersionID: first}, []byte("first"))
	wantBody(t, o, "a.jpg", origin.Cond{VersionID: second}, []byte("other"))
	wantBody(t, o, "a.jpg", origin.Cond{}, []byte("other"))
	for _, id := range []string{other, "null", "nonsense", "a b&c=d/../é", second[:len(second)-1]} {
		wantError(t, o, "a.jpg", origin.Cond{VersionID: id}, origin.ErrNotFound)
	}
	o.Delete(t, "a.jpg")
	wantError(t, o, "a.jpg", origin.Cond{}, origin.ErrNotFound)
	wantBody(t, o, "a.jpg", origin.Cond{VersionID: first}, []byte("first"))
}

func testOddNames(t *testing.T, o Origin) {
	for _, name := range o.Names {
		o.Put(t, name, []byte("content of "+name))
	}
	for _, name := range o.Names {
		wantBody(t, o, name, origin.Cond{}, []byte("content of "+name))
	}
}

func testBadNames(t *testing.T, o Origin) {
	checker, ok := o.Source.(interface{ CheckName(name string) error })
	for _, name := range append([]string{""}, o.BadNames...) {
		wantError(t, o, name, origin.Cond{}, origin.ErrName)
		if ok && !errors.Is(checker.CheckName(name), origin.ErrName) {
			t.Errorf("CheckName accepts %q", name)
		}
	}
	for _, name := range o.Names {
		if ok && checker.CheckName(name) != nil {
			t.Errorf("CheckName refuses %q: %v", name, checker.CheckName(name))
		}
	}
}

func testEmpty(t *testing.T, o Origin) {
	o.Put(t, "empty.jpg", nil)
	obj := wantBody(t, o, "empty.jpg", origin.Cond{}, nil)
	if obj.Size != 0 {
		t.Errorf("size %d", obj.Size)
	}
	if _, err := origin.ReadAll(t.Context(), o.Source, "empty.jpg", origin.Cond{}, 10); err != nil {
		t.Error(err)
	}
}

func testLarge(t *testing.T, o Origin) {
	want := Bytes(2, 38<<20)
	o.Put(t, "big.jpg", want)
	got, err := origin.ReadAll(t.Context(), o.Source, "big.jpg", origin.Cond{}, int64(len(want)))
	if err != nil || !bytes.Equal(got.Body, want) {
		t.Fatalf("%d bytes, error %v", len(got.Body), err)
	}
	_, err = origin.ReadAll(t.Context(), o.Source, "big.jpg", origin.Cond{}, int64(len(want))-1)
	if !errors.Is(err, origin.ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
}

func testContextDone(t *testing.T, o Origin) {
	o.Put(t, "big.jpg", Bytes(3, 16<<20))

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := open(canceled, o, "big.jpg", origin.Cond{})
	if !errors.Is(err, context.Canceled) || origin.IsSentinel(err) {
		t.Errorf("canceled before Open: error %v", err)
	}
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, _, err = open(expired, o, "big.jpg", origin.Cond{})
	if !errors.Is(err, context.DeadlineExceeded) || origin.IsSentinel(err) {
		t.Errorf("deadline before Open: error %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	obj, err := o.Source.Open(ctx, "big.jpg", origin.Cond{})
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Body.Close()
	if _, err := io.ReadFull(obj.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	n, err := io.Copy(io.Discard, obj.Body)
	if !errors.Is(err, context.Canceled) || origin.IsSentinel(err) {
		t.Errorf("canceled while reading: error %v after %d bytes", err, n)
	}
}

func testConcurrent(t *testing.T, o Origin) {
	bodies := map[string][]byte{}
	for i := range 8 {
		name := fmt.Sprintf("%d.jpg", i)
		bodies[name] = Bytes(uint64(10+i), 100_000+i)
		o.Put(t, name, bodies[name])
	}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			name := fmt.Sprintf("%d.jpg", i%8)
			_, got, err := open(t.Context(), o, name, origin.Cond{})
			if err != nil || !bytes.Equal(got, bodies[name]) {
				t.Errorf("%s: %d bytes, error %v", name, len(got), err)
			}
		})
	}
	wg.Wait()
}

func testBodyNotRead(t *testing.T, o Origin) {
	want := Bytes(4, 1<<20)
	o.Put(t, "a.jpg", want)
	for i := range 20 {
		obj, err := o.Source.Open(t.Context(), "a.jpg", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if _, err := io.ReadFull(obj.Body, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
		}
		obj.Body.Close()
		obj.Body.Close() // a second Close is allowed
		if _, err := io.ReadAll(obj.Body); err == nil {
			t.Fatal("a closed body was read to its end")
		}
	}
	wantBody(t, o, "a.jpg", origin.Cond{}, want)
}

func testHead(t *testing.T, o Origin) {
	ctx := t.Context()
	puts := map[string]func(testing.TB, string, []byte){
		"a.jpg": o.Put, "empty.jpg": o.Put, "weak.jpg": o.PutWeak, "bare.jpg": o.PutBare,
	}
	for name, put := range puts {
		if put == nil {
			continue
		}
		body := Bytes(5, 4321)
		if name == "empty.jpg" {
			body = nil
		}
		put(t, name, body)
		head, err := o.Source.Head(ctx, name)
		if err != nil {
			t.Fatalf("head %s: %v", name, err)
		}
		obj := wantBody(t, o, name, origin.Cond{}, body)
		if head.Size != int64(len(body)) || head.ETag != obj.ETag ||
			!head.LastModified.Equal(obj.LastModified) || head.Fresh.Silent != obj.Fresh.Silent {
			t.Errorf("head %s: %+v, open: %+v", name, head, obj.Metadata)
		}
	}
	for _, name := range o.Names {
		o.Put(t, name, []byte(name))
		if head, err := o.Source.Head(ctx, name); err != nil || head.Size != int64(len(name)) {
			t.Errorf("head %q: %+v, %v", name, head, err)
		}
	}
	for _, name := range append([]string{""}, o.BadNames...) {
		if _, err := o.Source.Head(ctx, name); !errors.Is(err, origin.ErrName) {
			t.Errorf("head %q: error %v, want ErrName", name, err)
		}
	}
	if _, err := o.Source.Head(ctx, "nothing.jpg"); !errors.Is(err, origin.ErrNotFound) {
		t.Errorf("head of a missing original: error %v, want ErrNotFound", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := o.Source.Head(canceled, "a.jpg"); !errors.Is(err, context.Canceled) || origin.IsSentinel(err) {
		t.Errorf("head with a canceled context: error %v", err)
	}
}

// OddNames returns unusual names of files and objects, not percent-encoded.
func OddNames() []string {
	return []string{
		"a b.jpg", " leading and trailing ", "plus+plus.jpg", "100%.jpg", "a%20b.jpg", "%2e%2e/a.jpg", "%00",
		"été/日本/😀.jpg", "e\u0301.jpg", "\u00e9.jpg", // two spellings of é: two names
		"q?x=1&y=2", "h#frag", "semi;colon", "&=:@$,!*'()", `back\slash`, `"quoted"`,
		"<tag>", "{brace}[bracket]", "~tilde", "^caret|pipe`tick",
		"...", "..a/b..", ".hidden", "-rf", "*", "no-extension", "UPPER.JPG",
		"upper.jpg", "tab\there", "\x01\x7f", "new\nline",
		strings.Repeat("long/", 150) + "a.jpg",
		strings.Repeat("x", 200) + ".jpg",
	}
}
