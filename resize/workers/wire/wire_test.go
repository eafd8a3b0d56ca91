package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/novasocial/imagetier/resize"
)

func spec(t testing.TB, name string) resize.Spec {
	t.Helper()
	s, err := resize.ParseSpecName(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJob_RoundTrip(t *testing.T) {
	sent := Job{
		7,
		bytes.Repeat([]byte("photo"), 2<<20),
		[]resize.Spec{spec(t, "640x480-cover-at30x70-q70.webp"), spec(t, "x10.avif")},
	}
	var b bytes.Buffer
	if err := WriteJob(&b, sent); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJob(&b, int64(len(sent.Original)))
	if err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("job %d of %d bytes for %v, %v", got.ID, len(got.Original), got.Specs, err)
	}
	if _, err := ReadJob(&b, 1); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
}

func TestJob_Invalid(t *testing.T) {
	one := spec(t, "10x.jpg")
	for name, j := range map[string]Job{"no Spec": {}, "65 Specs": {Specs: make([]resize.Spec, 65)}} {
		if err := WriteJob(io.Discard, j); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v, want ErrProtocol", name, err)
		}
	}
	job := func(names string, size uint32) []byte {
		return binary.LittleEndian.AppendUint32(appendBlock([]byte{1, 0, 0, 0}, []byte(names)), size)
	}
	for name, in := range map[string][]byte{
		"too long":       job("10x.jpg", 101),
		"not canonical":  job("10x-q080.jpg", 0),
		"65 Specs":       job(strings.TrimSuffix(strings.Repeat("10x.jpg\n", 65), "\n"), 0),
		"names too long": job(strings.Repeat("x", maxNames+1), 0),
	} {
		if _, err := ReadJob(bytes.NewReader(in), 100); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v, want ErrProtocol", name, err)
		}
	}
	var b bytes.Buffer
	if err := WriteJob(&b, Job{1, []byte("photo"), []resize.Spec{one}}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < b.Len(); n++ {
		if _, err := ReadJob(bytes.NewReader(b.Bytes()[:n]), 100); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v, want an unexpected end", n, err)
		}
	}
}

func answer(t testing.TB, images []resize.Image, err error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteAnswer(bufio.NewWriter(&b), 7, images, err); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnswer_RoundTrip(t *testing.T) {
	specs := []resize.Spec{spec(t, "10x.jpg"), spec(t, "20x.png")}
	sent := []resize.Image{
		{Body: append([]byte("\xff\xd8\xff"), make([]byte, 9<<20)...), Format: resize.JPEG, Width: 10, Height: 5},
		{Body: []byte("\x89PNG\r\n\x1a\n"), Format: resize.PNG, Width: 20, Height: 1 << 16},
	}
	whole := answer(t, sent, nil)
	got, err := ReadAnswer(bufio.NewReader(bytes.NewReader(whole)), 7, specs)
	if err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("%d images, %v", len(got), err)
	}
	for _, n := range []int{0, 1, 4, 5, 6, 7, 14, 15, 18, 19, 1000, 5 << 20, len(whole) - 1} {
		if _, err := ReadAnswer(bufio.NewReader(bytes.NewReader(whole[:n])), 7, specs); err != io.ErrUnexpectedEOF &&
			err != io.EOF {
			t.Errorf("cut after %d bytes: %v, want an unexpected end", n, err)
		}
	}
}

func TestAnswer_JobError(t *testing.T) {
	for _, sentinel := range []error{
		resize.ErrSpec, resize.ErrUnsupported, resize.ErrTooLarge, resize.ErrCorrupt, resize.ErrFailed,
	} {
		in := answer(t, nil, fmt.Errorf("resize: %w: line\none \x1b[31m\xff%s", sentinel, strings.Repeat("x", 5000)))
		_, err := ReadAnswer(bufio.NewReader(bytes.NewReader(in)), 7, nil)
		var refused *JobError
		if !errors.As(err, &refused) || !errors.Is(err, sentinel) {
			t.Errorf("%v, want a refusal that is %v", err, sentinel)
		}
		if s := err.Error(); len(s) > maxText+10 || strings.ContainsAny(s, "\n\x1b") || !utf8.ValidString(s) ||
			!strings.Contains(s, "line one") {
			t.Errorf("its text is %.80q, of %d bytes", s, len(s))
		}
	}
	if _, err := ReadAnswer(bufio.NewReader(bytes.NewReader(answer(t, nil, errors.New("?")))), 7, nil); !errors.Is(
		err,
		resize.ErrFailed,
	) {
		t.Errorf("an error of no kind: %v, want ErrFailed", err)
	}
}

func TestWriteAnswer_TooLarge(t *testing.T) {
	half := make([]byte, MaxImages/2+1)
	in := answer(t, []resize.Image{{Body: half}, {Body: half}}, nil)
	if _, err := ReadAnswer(bufio.NewReader(bytes.NewReader(in)), 7, make([]resize.Spec, 2)); !errors.Is(
		err,
		resize.ErrTooLarge,
	) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func TestReadJob_DeclaredLengthAllocatesNothing(t *testing.T) {
	head := []byte{7, 0, 0, 0, 0, 1, byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0}
	in := binary.LittleEndian.AppendUint32(head, MaxImages)
	in = append(in, 0xff, 0xd8, 0xff)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ReadAnswer(bufio.NewReader(bytes.NewReader(in)), 7, []resize.Spec{spec(t, "10x.jpg")})
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("%v, want an unexpected end", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were taken for three that came", n)
	}
}

func TestReadHello_OtherVersion(t *testing.T) {
	var b bytes.Buffer
	sent := Hello{Libvips: "8.14.1", Loads: []string{"jpeg"}, Saves: []string{"jpg"}, Sandbox: []string{"rlimits"}}
	if err := WriteHello(&b, sent); err != nil {
		t.Fatal(err)
	}
	in := bytes.Clone(b.Bytes())
	if got, err := ReadHello(&b); err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("%+v, %v", got, err)
	}
	in[0]++
	if _, err := ReadHello(bytes.NewReader(in)); err == nil || !strings.Contains(err.Error(), "different builds") {
		t.Errorf("%v, want it to say why", err)
	}
	if _, err := ReadHello(strings.NewReader("\x01\x02\x00\x00\x00{]")); err == nil {
		t.Error("no JSON is a greeting")
	}
}

// Whatever a child says, the parent takes no more memory than a small part over what came,
// and what it accepts is what was asked for.
func FuzzReadAnswer(f *testing.F) {
	specs := []resize.Spec{spec(f, "10x.jpg"), spec(f, "20x.png")}
	good := []resize.Image{
		{Body: []byte("\xff\xd8\xff"), Format: resize.JPEG, Width: 10, Height: 5},
		{Body: []byte("\x89PNG\r\n\x1a\n"), Format: resize.PNG, Width: 20, Height: 7},
	}
	f.Add(answer(f, good, nil))
	f.Add(answer(f, nil, resize.ErrCorrupt))
	f.Fuzz(func(t *testing.T, in []byte) {
		images, err := ReadAnswer(bufio.NewReader(bytes.NewReader(in)), 7, specs)
		if err != nil {
			if images != nil {
				t.Error("images beside an error")
			}
			return
		}
		if back := answer(t, images, nil); !bytes.Equal(back, in) {
			t.Errorf("%x was read as %x", in, back)
		}
	})
}

func FuzzReadJob(f *testing.F) {
	var b bytes.Buffer
	err := WriteJob(&b, Job{1, []byte("photo"), []resize.Spec{spec(f, "10x.jpg"), spec(f, "640x480-cover.webp")}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		j, err := ReadJob(r, 1<<20)
		if err != nil {
			return
		}
		var back bytes.Buffer
		if err := WriteJob(&back, j); err != nil {
			t.Fatalf("%+v: %v", j, err)
		}
		if read := in[:len(in)-r.Len()]; !bytes.Equal(back.Bytes(), read) {
			t.Errorf("%x was read as %x", read, back.Bytes())
		}
	})
}
