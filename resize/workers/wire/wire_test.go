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
	"testing/iotest"
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
		ID:       7,
		Original: bytes.Repeat([]byte("photo"), 2<<20),
		Specs:    []resize.Spec{spec(t, "640x480-cover-at30x70-q70.webp"), spec(t, "x10.avif")},
		Optional: []resize.Spec{resize.Mezzanine(1440)},
		Quick:    true,
	}
	var b bytes.Buffer
	if err := WriteJob(&b, sent); err != nil {
		t.Fatal(err)
	}
	for _, goOn := range []bool{true, false} {
		if err := WriteReply(&b, goOn); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadRequest(&b, int64(len(sent.Original)))
	if err != nil || !reflect.DeepEqual(*got.Job, sent) {
		t.Errorf("job %d of %d bytes for %v, %v", got.Job.ID, len(got.Job.Original), got.Job.Specs, err)
	}
	for _, goOn := range []bool{true, false} {
		if got, err := ReadRequest(&b, 1); err != nil || got != (Request{GoOn: goOn}) {
			t.Errorf("%+v, %v, want the reply %v", got, err, goOn)
		}
	}
	if _, err := ReadRequest(&b, 1); err != io.EOF {
		t.Errorf("%v, want EOF", err)
	}
}

func TestJob_EarlyRoundTrip(t *testing.T) {
	sent := Job{ID: 7, Early: 100, Specs: []resize.Spec{spec(t, "10x.jpg")}}
	var b bytes.Buffer
	for _, err := range []error{
		WriteJob(&b, sent), WritePiece(&b, []byte("photo")), WriteEnd(&b, false), WriteEnd(&b, true),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadRequest(&b, 100)
	if err != nil || !reflect.DeepEqual(*got.Job, sent) {
		t.Errorf("job %+v, %v", got.Job, err)
	}
	got, err = ReadRequest(&b, 100)
	if piece := b.Next(got.Piece); err != nil || string(piece) != "photo" {
		t.Errorf("piece %q, %v", piece, err)
	}
	for _, usable := range []bool{false, true} {
		if got, err = ReadRequest(&b, 100); err != nil || got != (Request{End: true, Usable: usable}) {
			t.Errorf("%+v, %v, want an end with usable %v", got, err, usable)
		}
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
		head := appendBlock([]byte{kindJob, 1, 0, 0, 0, 0}, []byte(names))
		return binary.LittleEndian.AppendUint32(appendBlock(head, nil), size)
	}
	for name, in := range map[string][]byte{
		"too long":       job("10x.jpg", 101),
		"not canonical":  job("10x-q080.jpg", 0),
		"65 Specs":       job(strings.TrimSuffix(strings.Repeat("10x.jpg\n", 65), "\n"), 0),
		"names too long": job(strings.Repeat("x", maxNames+1), 0),
		"no Spec":        job("", 0),
		"unknown kind":   {9},
		"unknown flags":  {kindJob, 1, 0, 0, 0, 2},
		"empty early":    append([]byte{kindEarly}, job("10x.jpg", 0)[1:]...),
		"long early":     append([]byte{kindEarly}, job("10x.jpg", 101)[1:]...),
		"empty piece":    {kindPiece, 0, 0, 0, 0},
		"long piece":     {kindPiece, 101, 0, 0, 0},
	} {
		if _, err := ReadRequest(bytes.NewReader(in), 100); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v, want ErrProtocol", name, err)
		}
	}
	var b bytes.Buffer
	if err := WriteJob(&b, Job{ID: 1, Original: []byte("photo"), Specs: []resize.Spec{one}}); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < b.Len(); n++ {
		if _, err := ReadRequest(bytes.NewReader(b.Bytes()[:n]), 100); err != io.ErrUnexpectedEOF {
			t.Errorf("cut after %d bytes: %v, want an unexpected end", n, err)
		}
	}
}

// answer is the answer to job 7: images, and then err or the end.
func answer(t testing.TB, images []resize.Image, err error) []byte {
	t.Helper()
	var b bytes.Buffer
	a := NewAnswer(bufio.NewWriter(&b), 7)
	for i, img := range images {
		if err := a.Image(i, img); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.End(err); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads the answer to job 7.
func read(in []byte, specs []resize.Spec) ([]resize.Image, error) {
	images := make([]resize.Image, len(specs))
	err := Reader{
		Specs: specs, Made: func(i int, img resize.Image) { images[i] = img },
	}.Read(bufio.NewReader(bytes.NewReader(in)), 7)
	return images, err
}

func TestAnswer_RoundTrip(t *testing.T) {
	specs := []resize.Spec{spec(t, "10x.jpg"), spec(t, "20x.png")}
	sent := []resize.Image{
		{Body: append([]byte("\xff\xd8\xff"), make([]byte, 9<<20)...), Format: resize.JPEG, Width: 10, Height: 5},
		{Body: []byte("\x89PNG\r\n\x1a\n"), Format: resize.PNG, Width: 20, Height: resize.PNG.LongestSide()},
	}
	whole := answer(t, sent, nil)
	got, err := read(whole, specs)
	if err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("%d images, %v", len(got), err)
	}
	for _, n := range []int{0, 1, 4, 5, 6, 7, 14, 15, 18, 19, 1000, 5 << 20, len(whole) - 1} {
		if _, err := read(whole[:n], specs); err != io.ErrUnexpectedEOF && err != io.EOF {
			t.Errorf("cut after %d bytes: %v, want an unexpected end", n, err)
		}
	}
}

// An answer about an original has its size, which no format limits.
func TestReader_Read_Sides(t *testing.T) {
	for name, c := range map[string]struct {
		img resize.Image
		ok  bool
	}{
		"info.json": {resize.Image{Body: []byte("{}"), Format: resize.JSON, Width: 1 << 24, Height: 1}, true},
		"10x.png": {
			resize.Image{Body: []byte("\x89PNG\r\n\x1a\n"), Format: resize.PNG, Width: 10, Height: 65_536}, false,
		},
		"10x.jpg": {resize.Image{Body: []byte("\xff\xd8\xff"), Format: resize.JPEG, Width: 0, Height: 1}, false},
	} {
		specs := []resize.Spec{spec(t, name)}
		if _, err := read(answer(t, []resize.Image{c.img}, nil), specs); (err == nil) != c.ok {
			t.Errorf("%s of %dx%d: %v", name, c.img.Width, c.img.Height, err)
		}
	}
}

func TestAnswer_JobError(t *testing.T) {
	for _, sentinel := range []error{
		resize.ErrSpec, resize.ErrUnsupported, resize.ErrTooLarge, resize.ErrCorrupt, resize.ErrFailed,
	} {
		in := answer(t, nil, fmt.Errorf("resize: %w: line\none \x1b[31m\xff%s", sentinel, strings.Repeat("x", 5000)))
		_, err := read(in, nil)
		var refused *JobError
		if !errors.As(err, &refused) || !errors.Is(err, sentinel) {
			t.Errorf("%v, want a refusal that is %v", err, sentinel)
		}
		if s := err.Error(); len(s) > maxText+10 || strings.ContainsAny(s, "\n\x1b") || !utf8.ValidString(s) ||
			!strings.Contains(s, "line one") {
			t.Errorf("error text %.80q of %d bytes", s, len(s))
		}
	}
	if _, err := read(answer(t, nil, errors.New("?")), nil); !errors.Is(err, resize.ErrFailed) {
		t.Errorf("an error of no kind: %v, want ErrFailed", err)
	}
}

func TestAnswer_End_TooLarge(t *testing.T) {
	half := make([]byte, MaxImages/2+1)
	copy(half, "\xff\xd8\xff")
	img := resize.Image{Body: half, Format: resize.JPEG, Width: 1, Height: 1}
	in := answer(t, []resize.Image{img, img}, nil)
	specs := []resize.Spec{spec(t, "10x.jpg"), spec(t, "10x.jpg")}
	if _, err := read(in, specs); !errors.Is(err, resize.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func TestReader_Read_DeclaredLengthAllocatesNothing(t *testing.T) {
	head := []byte{7, 0, 0, 0, kindImage, 0, byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0}
	in := binary.LittleEndian.AppendUint32(head, MaxImages)
	in = append(in, 0xff, 0xd8, 0xff)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := read(in, []resize.Spec{spec(t, "10x.jpg")})
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("%v, want an unexpected end", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes were allocated for three that arrived", n)
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
	if _, err := ReadHello(strings.NewReader("\x02\x02\x00\x00\x00{]")); err == nil {
		t.Error("no JSON is a greeting")
	}
}

// For any answer of a child, the parent allocates no more than a small part over the bytes that
// came, and accepts only images that were requested.
func FuzzReader_Read(f *testing.F) {
	specs := []resize.Spec{spec(f, "10x.jpg"), spec(f, "20x.png")}
	good := []resize.Image{
		{Body: []byte("\xff\xd8\xff"), Format: resize.JPEG, Width: 10, Height: 5},
		{Body: []byte("\x89PNG\r\n\x1a\n"), Format: resize.PNG, Width: 20, Height: 7},
	}
	f.Add(answer(f, good, nil))
	f.Add(answer(f, nil, resize.ErrCorrupt))
	f.Fuzz(func(t *testing.T, in []byte) {
		images, err := read(in, specs)
		if err != nil {
			return
		}
		second := answer(t, images, nil)
		a := Reader{Specs: specs, Made: func(int, resize.Image) {}}
		if err := a.Read(bufio.NewReader(bytes.NewReader(second)), 7); err != nil || len(second) != len(in) {
			t.Errorf("%x was read as %x, %v", in, second, err) // but for the order of the images
		}
	})
}

func FuzzReadRequest(f *testing.F) {
	var b bytes.Buffer
	specs := []resize.Spec{spec(f, "10x.jpg"), spec(f, "640x480-cover.webp")}
	job := Job{ID: 1, Original: []byte("photo"), Specs: specs, Optional: []resize.Spec{resize.Mezzanine(1440)}}
	if err := WriteJob(&b, job); err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Clone(b.Bytes()))
	b.Reset()
	if err := WriteJob(&b, Job{ID: 1, Early: 5, Specs: specs}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{kindPiece, 1, 0, 0, 0})
	f.Add([]byte{kindUnusable})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		request, err := ReadRequest(r, 1<<20)
		if err != nil {
			return
		}
		var back bytes.Buffer
		switch {
		case request.Job != nil:
			err = WriteJob(&back, *request.Job)
		case request.Piece > 0: // only its head is read
			err = WritePiece(&back, make([]byte, request.Piece))
			back.Truncate(5)
		case request.End:
			err = WriteEnd(&back, request.Usable)
		default:
			err = WriteReply(&back, request.GoOn)
		}
		if err != nil {
			t.Fatalf("%+v: %v", request, err)
		}
		if read := in[:len(in)-r.Len()]; !bytes.Equal(back.Bytes(), read) {
			t.Errorf("%x was read as %x", read, back.Bytes())
		}
	})
}

func TestReader_Read_Optional(t *testing.T) {
	specs, optional := []resize.Spec{spec(t, "10x.jpg")}, []resize.Spec{spec(t, "20x.jpg")}
	img := resize.Image{Body: []byte("\xff\xd8\xff"), Format: resize.JPEG, Width: 10, Height: 5}
	for name, c := range map[string]struct {
		say   func(a *Answer)
		want  error
		ready int // replies
		made  int
	}{
		"made":     {func(a *Answer) { a.Image(0, img); a.Ready(); a.Image(1, img); a.End(nil) }, nil, 1, 2},
		"left out": {func(a *Answer) { a.Image(0, img); a.Ready(); a.End(nil) }, nil, 1, 1},
		"failed": {
			func(a *Answer) { a.Image(0, img); a.Ready(); a.End(resize.ErrFailed) }, resize.ErrFailed, 1, 1,
		},
		"not asked":       {func(a *Answer) { a.Image(0, img); a.End(nil) }, nil, 0, 1},
		"before it may":   {func(a *Answer) { a.Image(0, img); a.Image(1, img); a.End(nil) }, ErrProtocol, 0, 1},
		"ready too early": {func(a *Answer) { a.Ready() }, ErrProtocol, 0, 0},
		"ready twice":     {func(a *Answer) { a.Image(0, img); a.Ready(); a.Ready() }, ErrProtocol, 1, 1},
		"an image twice":  {func(a *Answer) { a.Image(0, img); a.Image(0, img); a.End(nil) }, ErrProtocol, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var sent bytes.Buffer
			c.say(NewAnswer(bufio.NewWriter(&sent), 7))
			ready, made := 0, 0
			// One byte at a time, as if the child waited for each reply.
			in := bufio.NewReaderSize(iotest.OneByteReader(&sent), 16)
			err := Reader{
				Specs: specs, Optional: optional,
				Made:  func(int, resize.Image) { made++ },
				Ready: func() error { ready++; return nil },
			}.Read(in, 7)
			if !errors.Is(err, c.want) || ready != c.ready || made != c.made {
				t.Errorf("%v after %d images and %d replies, want %v, %d and %d",
					err, made, ready, c.want, c.made, c.ready)
			}
		})
	}
}
