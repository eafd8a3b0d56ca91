package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
)

// Causes of a failed request, as far as they are known. An error that wraps one of them
// also wraps ErrUnavailable, ErrDenied or ErrRejected, which say how it is handled; the
// cause is for logs, metrics and doctor.
var (
	ErrConnRefused = errors.New("connection refused")
	ErrConnReset   = errors.New("connection closed early")
	ErrNoHost      = errors.New("no such host")
	ErrTLS         = errors.New("TLS handshake failed")
	// ErrDigest means that the bytes do not match the digest that the origin states.
	ErrDigest = errors.New("bytes do not match their digest")
	// ErrNoCredentials means that no credentials were found or that they could not be fetched.
	ErrNoCredentials = errors.New("no credentials")
	// ErrExpired means that a temporary token is no longer valid.
	ErrExpired = errors.New("credentials expired")
	// ErrCredentials means an unknown key id, a wrong secret key, or an invalid token.
	ErrCredentials = errors.New("credentials not accepted")
	// ErrClock means that the local clock differs too much from that of the store.
	ErrClock = errors.New("clock skew too large")
	// ErrNoBucket means that the configured bucket does not exist.
	ErrNoBucket = errors.New("no such bucket")
	// ErrRegion is wrapped by WrongRegion.
	ErrRegion = errors.New("bucket is in another region")
	// ErrMayNotList means that the store hides whether an object exists, because the
	// caller has no permission to list the bucket (s3:ListBucket).
	ErrMayNotList = errors.New("no permission to list the bucket")
)

// WrongRegion is the error of a bucket that is not in the configured region:
// errors.Is(err, ErrRegion).
type WrongRegion struct {
	Region string // where the bucket is; "" if the store did not say
}

func (e *WrongRegion) Error() string {
	if e.Region == "" {
		return ErrRegion.Error()
	}
	return fmt.Sprintf("%v: %.40q", ErrRegion, e.Region)
}

func (*WrongRegion) Is(target error) bool { return target == ErrRegion }

// NoAnswer returns the error of a request that failed in the network: it wraps
// ErrUnavailable, err and, where err tells it, the cause. A timeout wraps
// context.DeadlineExceeded too. An error that wraps a sentinel is returned as it is.
func NoAnswer(err error) error {
	if IsSentinel(err) {
		return err
	}
	if cause := causeOf(err); cause != nil {
		return fmt.Errorf("%w: %w: %w", ErrUnavailable, cause, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func causeOf(err error) error {
	var (
		dns         *net.DNSError
		network     net.Error
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case errors.As(err, &network) && network.Timeout():
		return context.DeadlineExceeded
	case errors.As(err, &dns):
		return ErrNoHost
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrConnRefused
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert),
		errors.Is(err, http.ErrSchemeMismatch):
		return ErrTLS
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrConnReset
	}
	return nil
}
