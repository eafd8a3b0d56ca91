package weborigin

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/origintest"
	"github.com/novasocial/imagetier/origin/origintest/faulty"
)

// A fault of the origin, as a Source and as the wrapped Source that the tier reads from.
var faults = []struct {
	fault   faulty.Fault
	err     error // of a plain reading; nil: none
	late    bool  // comes only by a deadline
	retried bool  // by the wrapped Source
}{
	{fault: faulty.None},
	{fault: faulty.WrongKind}, // bytes are bytes: their kind is told by who decodes them
	{fault: faulty.FlippingTag},
	{fault: faulty.IgnoresIfMatch},
	{fault: faulty.TooLong}, // what is after the promised length is no body, and is not taken for an answer
	{fault: faulty.Cut, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.CutChunked, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Unavailable, err: origin.ErrBusy},
	{fault: faulty.Failed, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.BadGateway, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Reset, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.ResetBody, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Hang, err: origin.ErrUnavailable, retried: true, late: true},
	{fault: faulty.HangHeaders, err: origin.ErrUnavailable, retried: true, late: true},
	{fault: faulty.HangBody, err: origin.ErrUnavailable, retried: true, late: true},
	{fault: faulty.Trickle, err: origin.ErrUnavailable, late: true}, // never stalls, so there is no time for a second try
	{fault: faulty.Endless, err: origin.ErrTooLarge},
	{fault: faulty.EndlessHeaders, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.EndlessInterim, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Gzip, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Partial, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Switching, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.NoContent, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.NotModified, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.TwoLengths, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Garbage, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.ToPrivate, err: origin.ErrDenied},
	{fault: faulty.ToMetadata, err: origin.ErrDenied},
	{fault: faulty.ToElsewhere, err: origin.ErrDenied},
	{fault: faulty.ToFile, err: origin.ErrDenied},
	{fault: faulty.RedirectLoop, err: origin.ErrUnavailable},
	{fault: faulty.RedirectNowhere, err: origin.ErrUnavailable, retried: true},
	{fault: "nothing", err: origin.ErrNotFound},
}

var photo = origintest.Bytes(7, 100_000)

const limit = 1 << 20

// soon is when a test gives up; all that is bounded is bounded far below.
const soon = 20 * time.Second

func TestSource_Faults(t *testing.T) {
	for _, c := range faults {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			server := faulty.Start(t, photo)
			src := origin.Deadline(newSource(t, Config{Base: server.URL, AllowPrivate: true}), 400*time.Millisecond)
			if !c.late {
				src = origin.Deadline(newSource(t, Config{Base: server.URL, AllowPrivate: true}), soon)
			}
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			got, err := origin.ReadAll(ctx, src, string(c.fault)+"/a.jpg", origin.Cond{}, limit)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if c.late != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("late: %v", err)
			}
			if err == nil && c.fault != faulty.WrongKind && !bytes.Equal(got.Body, photo) {
				t.Errorf("another body, of %d bytes", len(got.Body))
			}
			// And the Source is as good as new.
			got, err = origin.ReadAll(ctx, src, "ok/a.jpg", origin.Cond{Match: "1"}, limit)
			if err != nil || !bytes.Equal(got.Body, photo) {
				t.Errorf("after it: %d bytes, error %v", len(got.Body), err)
			}
		})
	}
}

func TestSource_FaultsWithRetry(t *testing.T) {
	for _, c := range faults {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			server := faulty.Start(t, photo)
			web := newSource(t, Config{Base: server.URL, AllowPrivate: true})
			var src origin.Source = web
			stall, total := time.Duration(-1), soon
			if c.late {
				stall, total = 200*time.Millisecond, 2*time.Second
			}
			src = origin.Deadline(origin.Retry(src, origin.RetryConfig{MaxBytes: limit, Stall: stall, Pause: time.Millisecond}), total)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()

			once := "once/" + string(c.fault) + "/a.jpg"
			got, err := origin.ReadAll(ctx, src, once, origin.Cond{}, limit)
			switch {
			case c.err == nil || c.fault == faulty.RedirectLoop: // its first redirect is to what is then good
			case c.retried:
				if err != nil || !bytes.Equal(got.Body, photo) {
					t.Errorf("once: %d bytes, error %v", len(got.Body), err)
				}
				if n := server.Requests("/" + once); n != 2 {
					t.Errorf("once: asked %d times", n)
				}
			case !errors.Is(err, c.err):
				t.Errorf("once: error %v, want %v", err, c.err)
			}

			// A connection that was kept and fails at once is replaced by net/http itself,
			// which would count as a third request.
			web.client.CloseIdleConnections()
			always := string(c.fault) + "/b.jpg"
			begun := time.Now()
			_, err = origin.ReadAll(ctx, src, always, origin.Cond{}, limit)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("always: error %v, want %v", err, c.err)
			}
			if took := time.Since(begun); took > total+soon/4 {
				t.Errorf("always: took %v", took)
			}
			want := 1
			if c.retried {
				want = 2
			}
			if n := server.Requests("/" + always); n != want && c.fault != faulty.RedirectLoop {
				t.Errorf("always: asked %d times, want %d", n, want)
			}
		})
	}
}

func TestSource_Open_ChecksPin(t *testing.T) {
	server := faulty.Start(t, photo)
	src := newSource(t, Config{Base: server.URL, AllowPrivate: true})
	for _, fault := range []faulty.Fault{faulty.None, faulty.IgnoresIfMatch} {
		if _, err := src.Open(t.Context(), string(fault), origin.Cond{Match: "other"}); !errors.Is(err, origin.ErrChanged) {
			t.Errorf("%s: error %v", fault, err)
		}
	}
	// The tag of the first answer is no longer that of the second.
	first, err := origin.ReadAll(t.Context(), src, string(faulty.FlippingTag), origin.Cond{}, limit)
	if err != nil {
		t.Fatal(err)
	}
	pin := origin.Cond{Match: strings.Trim(first.ETag, `"`)}
	if _, err := src.Open(t.Context(), string(faulty.FlippingTag), pin); !errors.Is(err, origin.ErrChanged) {
		t.Errorf("flipping: error %v", err)
	}
}

// An allowed host may still resolve, or redirect, to an address that is not: the check is
// made for each address that is dialed.
func TestSource_Open_ChecksRedirectTarget(t *testing.T) {
	server := faulty.Start(t, photo)
	address := strings.TrimPrefix(server.URL, "http://")
	src := newSource(t, Config{Base: server.URL, RedirectHosts: []string{"10.0.0.1", "169.254.169.254"}})
	dialer := &net.Dialer{ControlContext: func(ctx context.Context, network, to string, c syscall.RawConn) error {
		if to == address { // the test's own server, and nothing else on loopback
			return nil
		}
		return refuseInternal(ctx, network, to, c)
	}}
	src.client.Transport.(*http.Transport).DialContext = dialer.DialContext
	for _, fault := range []faulty.Fault{faulty.ToPrivate, faulty.ToMetadata} {
		_, err := src.Open(t.Context(), string(fault), origin.Cond{})
		if !errors.Is(err, origin.ErrDenied) || !strings.Contains(err.Error(), "not a public address") {
			t.Errorf("%s: error %v", fault, err)
		}
	}
}
