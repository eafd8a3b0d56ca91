package fill

import (
	"context"
	"fmt"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// originalRef names one original, and on which condition it is asked for: an answer
// "not modified" means something only to those who hold the same.
type originalRef struct {
	source, name string
	version      imageurl.Version
	held         imagecache.Validator
}

// shared are the originals that running fills use. One lives from the first fill that
// wants it to the last that is done with it, so sizes asked at once share its fetch.
// The zero value is ready.
type shared struct {
	mu   sync.Mutex
	byID map[originalRef]*sharedOriginal
}

type sharedOriginal struct {
	users int // guarded by shared.mu
	done  chan struct{}
	stop  context.CancelFunc

	orig original
	err  error
}

// get returns the original, calling fetch unless a running fill has done or is doing so.
// If there is no error the caller calls release when it is done with the bytes. The
// fetch keeps the values of ctx, and ends when the last fill that wants it has left.
func (s *shared) get(ctx context.Context, id originalRef, fetch func(context.Context) (original, error)) (_ original, release func(), _ error) {
	s.mu.Lock()
	o := s.byID[id]
	if o == nil {
		o = &sharedOriginal{done: make(chan struct{})}
		fetching, stop := context.WithCancel(context.WithoutCancel(ctx))
		o.stop = stop
		if s.byID == nil {
			s.byID = make(map[originalRef]*sharedOriginal)
		}
		s.byID[id] = o
		go func() {
			defer close(o.done)
			defer func() {
				if p := recover(); p != nil {
					o.err = fmt.Errorf("%w: fetching panicked: %v", resize.ErrFailed, p)
				}
			}()
			o.orig, o.err = fetch(fetching)
		}()
	}
	o.users++
	s.mu.Unlock()

	release = sync.OnceFunc(func() { s.release(id, o) })
	select {
	case <-o.done:
	case <-ctx.Done():
		release()
		return original{}, nil, context.Cause(ctx)
	}
	if o.err != nil {
		release()
		return o.orig, nil, o.err
	}
	return o.orig, release, nil
}

func (s *shared) release(id originalRef, o *sharedOriginal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.users--
	if o.users > 0 {
		return
	}
	o.stop()
	if s.byID[id] == o {
		delete(s.byID, id)
	}
}

// forget lets nobody join what is being shared of an original now.
func (s *shared) forget(of imagecache.Original) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.byID {
		if id.source == of.Source && id.name == of.Name {
			delete(s.byID, id)
		}
	}
}
