package workers

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// lane is one of the two queues.
type lane int

const (
	live lane = iota
	warm
	lanes
)

// job is one call of Resize. images and err are written before done is closed.
type job struct {
	ctx      context.Context
	original []byte
	specs    []resize.Spec
	lane     lane
	queued   time.Time
	place    *list.Element // in its lane; nil once it has left it; guarded by queue.mu

	// reading is held while original is read, which nobody begins once ctx is done: so
	// when ctx is done and reading is free, original is the caller's again.
	reading sync.Mutex

	done   chan struct{}
	images []resize.Image
	err    error
}

func (j *job) end(images []resize.Image, err error) {
	j.images, j.err = images, err
	close(j.done)
}

// seat is where an idle worker waits for a job.
type seat struct {
	warmToo bool      // it takes jobs of both lanes, not only live ones
	next    chan *job // holds one
}

func newSeat(warmToo bool) *seat { return &seat{warmToo, make(chan *job, 1)} }

// queue brings jobs and workers together. Jobs wait only while no worker that may take
// them does, each lane in the order of arrival.
type queue struct {
	mu      sync.Mutex
	waiting [lanes]list.List // of *job
	room    [lanes]int
	idle    list.List // of *seat
	refusal error     // unless nil, nothing is taken in
}

// push takes j in, or returns an error that wraps resize.ErrBusy or is the refusal.
func (q *queue) push(j *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != nil {
		return q.refusal
	}
	if s := q.seatLocked(j.lane); s != nil {
		s.next <- j
		return nil
	}
	if q.waiting[j.lane].Len() >= q.room[j.lane] {
		return fmt.Errorf("%w: %d jobs wait", resize.ErrBusy, q.room[j.lane])
	}
	j.place = q.waiting[j.lane].PushBack(j)
	return nil
}

// seatLocked takes away a seat for a job of that lane; for a live one first the seat that
// is for live ones alone, so that a warm one still finds the other.
func (q *queue) seatLocked(l lane) *seat {
	var best *list.Element
	for e := q.idle.Front(); e != nil; e = e.Next() {
		switch s := e.Value.(*seat); {
		case !s.warmToo && l == live:
			return q.idle.Remove(e).(*seat)
		case s.warmToo && best == nil:
			best = e
		}
	}
	if best == nil {
		return nil
	}
	return q.idle.Remove(best).(*seat)
}

// sit gives s the next job, or keeps s until there is one.
func (q *queue) sit(s *seat) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for l := live; l < lanes; l++ {
		if first := q.waiting[l].Front(); first != nil && (l == live || s.warmToo) {
			s.next <- q.takeLocked(first)
			return
		}
	}
	q.idle.PushBack(s)
}

func (q *queue) takeLocked(place *list.Element) *job {
	j := place.Value.(*job)
	q.waiting[j.lane].Remove(place)
	j.place = nil
	return j
}

// rise takes s away. A job that came to it meanwhile goes back to where it was.
func (q *queue) rise(s *seat) {
	q.mu.Lock()
	for e := q.idle.Front(); e != nil; e = e.Next() {
		if e.Value == s {
			q.idle.Remove(e)
			break
		}
	}
	var j *job
	select {
	case j = <-s.next:
	default:
	}
	refusal := q.refusal
	if j != nil && refusal == nil {
		if other := q.seatLocked(j.lane); other != nil {
			other.next <- j
		} else {
			j.place = q.waiting[j.lane].PushFront(j)
		}
	}
	q.mu.Unlock()
	if j != nil && refusal != nil {
		j.end(nil, refusal)
	}
}

// leave takes j out, whose caller is gone, and reports whether it still waited.
func (q *queue) leave(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.place == nil {
		return false
	}
	q.takeLocked(j.place)
	return true
}

// refuse answers all that wait, and all that come, with err; nil ends that.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	q.refusal = err
	var out []*job
	for l := live; l < lanes && err != nil; l++ {
		for first := q.waiting[l].Front(); first != nil; first = q.waiting[l].Front() {
			out = append(out, q.takeLocked(first))
		}
	}
	q.mu.Unlock()
	for _, j := range out {
		j.end(nil, err)
	}
}

// depth returns how many jobs wait in a lane.
func (q *queue) depth(l lane) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[l].Len()
}
