package workers

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

const (
	live  = resize.PriorityLive
	warm  = resize.PriorityWarm
	lanes = resize.NumPriorities // each priority waits in a lane of its own
)

// job is one call of Resize. images and err are written before done is closed.
type job struct {
	ctx      context.Context
	original []byte
	specs    []resize.Spec
	lane     resize.Priority
	cost     cost
	queued   time.Time
	begun    bool          // it is the rest of what was let in before (resize.WithContinuation)
	due      time.Time     // what orders its lane
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
	kind seatKind
	next chan *job // holds one
}

func newSeat(kind seatKind) *seat { return &seat{kind, make(chan *job, 1)} }

// seatKind is which jobs come to a seat.
type seatKind int

const (
	forLive seatKind = iota // cheap ones of the live lane
	forBoth                 // cheap ones of both lanes
	forDear                 // dear ones of both lanes
)

func (k seatKind) takes(j *job) bool {
	if j.cost.dear() {
		return k == forDear
	}
	return k == forBoth || k == forLive && j.lane == live
}

// ageing is how much later than it came a job is due for each second that it takes: one
// of two seconds lets those of nothing pass it that come in the eight seconds after it. So
// cheap ones go first, and dear ones do not wait for ever.
const ageing = 4

// headStart is by how much what has begun is due before all that has not: longer than anything
// may wait.
const headStart = time.Hour

// queue brings jobs and workers together. Jobs wait only while no worker that may take
// them does, or while a cap keeps them; each lane in the order in which they are due.
type queue struct {
	mu      sync.Mutex
	waiting [lanes]list.List // of *job, the first to be due in front
	room    [lanes]int
	most    [2]time.Duration // of CPU time that may wait before a cheap, a dear job, for each such worker; 0: any
	pace    [2]pace          // how long cheap, dear jobs take here
	workers int              // that do cheap jobs
	dear    int              // that do dear ones
	caps    caps
	running load
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
	ahead := q.placeLocked(j)
	q.matchLocked()
	if j.place == nil || j.begun {
		return nil
	}
	switch n := q.waiting[j.lane].Len(); {
	case n > q.room[j.lane]:
		q.takeLocked(j.place)
		return fmt.Errorf("%w: %d jobs wait", resize.ErrBusy, q.room[j.lane])
	case q.mostBefore(j) > 0 && q.pace[j.cost.class()].of(ahead) >= q.mostBefore(j):
		q.takeLocked(j.place)
		return fmt.Errorf("%w: %v of work wait before it", resize.ErrBusy, ahead.Round(time.Millisecond))
	}
	return nil
}

// mostBefore is how much work may wait before j, of the kind that j is.
func (q *queue) mostBefore(j *job) time.Duration {
	class := j.cost.class()
	return q.most[class] * time.Duration([2]int{q.workers, q.dear}[class])
}

// placeLocked lets j wait behind all that are due before it or with it, and returns the
// CPU time of those that the same workers do.
func (q *queue) placeLocked(j *job) (ahead time.Duration) {
	if j.due = j.queued.Add(ageing * j.cost.cpu); j.begun {
		j.due = j.queued.Add(-headStart)
	}
	in := &q.waiting[j.lane]
	next := in.Front()
	for ; next != nil && !j.due.Before(next.Value.(*job).due); next = next.Next() {
		if before := next.Value.(*job).cost; before.dear() == j.cost.dear() {
			ahead += before.cpu
		}
	}
	if next == nil {
		j.place = in.PushBack(j)
	} else {
		j.place = in.InsertBefore(j, next)
	}
	return ahead
}

// matchLocked hands waiting jobs to idle workers as long as there is a pair.
func (q *queue) matchLocked() {
	for l := live; l < lanes; l++ {
		large := false // one waits for memory: none of its kind passes it
		for e := q.waiting[l].Front(); e != nil && q.idle.Len() > 0; {
			j := e.Value.(*job)
			e = e.Next()
			if large && j.cost.large() || !q.caps.admits(q.running, j.cost) {
				large = large || j.cost.large()
				continue
			}
			s := q.seatLocked(j)
			if s == nil {
				continue // the seats for such a one are taken
			}
			q.takeLocked(j.place)
			q.running.add(j.cost, 1)
			s.next <- j
		}
	}
}

// measured says that j, which was made, took that long.
func (q *queue) measured(j *job, took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pace[j.cost.class()].learn(j.cost.cpu, took)
}

// done says that j, which a worker had, has ended.
func (q *queue) done(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running.add(j.cost, -1)
	q.matchLocked()
}

// seatLocked takes away a seat for j; for a cheap live one first the seat that is for live
// ones alone, so that another still finds the other.
func (q *queue) seatLocked(j *job) *seat {
	var best *list.Element
	for e := q.idle.Front(); e != nil; e = e.Next() {
		if kind := e.Value.(*seat).kind; kind.takes(j) && (best == nil || kind == forLive) {
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
	q.idle.PushBack(s)
	q.matchLocked()
}

func (q *queue) takeLocked(place *list.Element) {
	j := place.Value.(*job)
	q.waiting[j.lane].Remove(place)
	j.place = nil
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
	if j != nil {
		q.running.add(j.cost, -1)
		if refusal == nil {
			q.placeLocked(j)
			q.matchLocked()
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
			out = append(out, first.Value.(*job))
			q.takeLocked(first)
		}
	}
	q.mu.Unlock()
	for _, j := range out {
		j.end(nil, err)
	}
}

// depth returns how many jobs wait in a lane.
func (q *queue) depth(l resize.Priority) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[l].Len()
}
