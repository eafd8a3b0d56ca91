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

var faults = []struct {
	fault   faulty.Fault
	err     error // nil if the original can be read
	late    bool  // the error comes only from a deadline, which ends the first try
	retried bool  // origin.Retry retries
}{
	{fault: faulty.None},
	{fault: faulty.WrongKind}, // a Source does not check the format
	{fault: faulty.FlippingTag},
	{fault: faulty.IgnoresIfMatch},
	{fault: faulty.TooLong}, // bytes after the promised length are ignored, and their connection is closed
	{fault: faulty.Cut, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.CutChunked, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Unavailable, err: origin.ErrBusy}, // its Retry-After is longer than the deadline
	{fault: faulty.Failed, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.BadGateway, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Reset, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.ResetBody, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Hang, err: origin.ErrUnavailable, late: true},
	{fault: faulty.HangHeaders, err: origin.ErrUnavailable, late: true},
	{fault: faulty.HangBody, err: origin.ErrUnavailable, late: true},
	{fault: faulty.Trickle, err: origin.ErrUnavailable, late: true},
	{fault: faulty.Endless, err: origin.ErrTooLarge},
	{fault: faulty.EndlessHeaders, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.EndlessInterim, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Gzip}, // decoded
	{fault: faulty.Partial, err: origin.ErrRejected},
	{fault: faulty.Switching, err: origin.ErrRejected},
	{fault: faulty.NoContent, err: origin.ErrRejected},
	{fault: faulty.NotModified, err: origin.ErrRejected},
	{fault: faulty.TwoLengths, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.Garbage, err: origin.ErrUnavailable, retried: true},
	{fault: faulty.ToPrivate, err: origin.ErrDenied},
	{fault: faulty.ToMetadata, err: origin.ErrDenied},
	{fault: faulty.ToElsewhere, err: origin.ErrDenied},
	{fault: faulty.ToFile, err: origin.ErrDenied},
	{fault: faulty.RedirectLoop, err: origin.ErrRejected},
	{fault: faulty.RedirectNowhere, err: origin.ErrRejected},
	{fault: "nothing", err: origin.ErrNotFound},
}

var photo = origintest.Bytes(7, 100_000)

const limit = 1 << 20

// patient is a deadline that only a failing test reaches.
const patient = 20 * time.Second

func TestSource_Faults(t *testing.T) {
	for _, c := range faults {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			server := faulty.Start(t, photo)
			src := newSource(t, Config{Base: server.URL, AllowPrivate: true})
			deadline := patient
			if c.late {
				deadline = 200 * time.Millisecond
			}
			got, err := origin.ReadAll(
				t.Context(),
				origin.Deadline(src, deadline),
				string(c.fault)+"/a.jpg",
				origin.Cond{},
				limit,
			)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if c.late != errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("late: %v", err)
			}
			if err == nil && c.fault != faulty.WrongKind && !bytes.Equal(got.Body, photo) {
				t.Errorf("wrong body of %d bytes", len(got.Body))
			}
			// The Source still works, though a request on a connection with bytes left over may have to be repeated.
			retry := origin.Retry(src, origin.RetryConfig{MaxBytes: limit, Pause: time.Millisecond})
			got, err = origin.ReadAll(
				t.Context(),
				origin.Deadline(retry, patient),
				"ok/a.jpg",
				origin.Cond{Match: "1"},
				limit,
			)
			if err != nil || !bytes.Equal(got.Body, photo) {
				t.Errorf("afterwards: %d bytes, error %v", len(got.Body), err)
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
			retry := origin.Retry(web, origin.RetryConfig{MaxBytes: limit, Pause: time.Millisecond})

			once := "once/" + string(c.fault) + "/a.jpg"
			deadline := patient
			switch {
			case c.late:
				deadline = time.Second
			case c.fault == faulty.Unavailable:
				deadline = 5 * time.Second // shorter than its Retry-After
			}
			got, err := origin.ReadAll(t.Context(), origin.Deadline(retry, deadline), once, origin.Cond{}, limit)
			switch {
			case c.err == nil || c.fault == faulty.RedirectLoop: // the target of the first redirect is good
			case c.retried:
				if err != nil || !bytes.Equal(got.Body, photo) {
					t.Errorf("once: %d bytes, error %v", len(got.Body), err)
				}
				if n := server.Requests("/" + once); n != 2 {
					t.Errorf("once: %d requests, want 2", n)
				}
			case !errors.Is(err, c.err):
				t.Errorf("once: error %v, want %v", err, c.err)
			}

			// If an idle connection fails at once, net/http sends the request again on a
			// new one, which would count as a third request.
			web.client.CloseIdleConnections()
			always := string(c.fault) + "/b.jpg"
			_, err = origin.ReadAll(t.Context(), origin.Deadline(retry, deadline), always, origin.Cond{}, limit)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("always: error %v, want %v", err, c.err)
			}
			want := 1
			if c.retried {
				want = 4
			}
			if n := server.Requests("/" + always); n != want && c.fault != faulty.RedirectLoop {
				t.Errorf("always: %d requests, want %d", n, want)
			}
		})
	}
}

func TestSource_Open_ChecksPin(t *testing.T) {
	server := faulty.Start(t, photo)
	src := newSource(t, Config{Base: server.URL, AllowPrivate: true})
	for _, fault := range []faulty.Fault{faulty.None, faulty.IgnoresIfMatch} {
		_, err := src.Open(t.Context(), string(fault), origin.Cond{Match: "other"})
		if !errors.Is(err, origin.ErrChanged) {
			t.Errorf("%s: error %v", fault, err)
		}
	}
	// The second answer has a different tag.
	first, err := origin.ReadAll(t.Context(), src, string(faulty.FlippingTag), origin.Cond{}, limit)
	if err != nil {
		t.Fatal(err)
	}
	pin := origin.Cond{Match: strings.Trim(first.ETag, `"`)}
	if _, err := src.Open(t.Context(), string(faulty.FlippingTag), pin); !errors.Is(err, origin.ErrChanged) {
		t.Errorf("flipping: error %v", err)
	}
}

// An allowed host may resolve, or redirect, to an address that is not allowed: every
// address is checked when it is dialed.
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
