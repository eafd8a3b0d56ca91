package fakeservices

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// intercept counts a call and applies the Behaviour of its service.
func (s *service) intercept(
	ctx context.Context,
	req any,
	info *grpc.UnaryServerInfo,
	answer grpc.UnaryHandler,
) (any, error) {
	s.calls.Add(1)
	if s.onCall != nil {
		s.onCall(info.FullMethod, req)
	}
	how, fails := s.next()
	if how.Hang {
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if how.Latency > 0 {
		t := time.NewTimer(how.Latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if fails {
		code := how.Code
		if code == codes.OK {
			code = codes.Unavailable
		}
		return nil, status.Error(code, "a fault that this service was asked for")
	}
	return answer(ctx, req)
}

// next returns the behaviour for the next call, and whether the call fails.
func (s *service) next() (Behaviour, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due += s.behaviour.ErrorRate
	if s.due < 1 {
		return s.behaviour, false
	}
	s.due--
	return s.behaviour, true
}
