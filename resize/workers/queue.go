package workers

import (
	"container/list"
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

const (
	live          = resize.PriorityLive
	page          = resize.PriorityPage
	warm          = resize.PriorityWarm
	numPriorities = resize.NumPriorities
)

// job is one call of Resize. err is written before done is closed.
type job struct {
	resize.Job
	ctx       context.Context
	delivered []bool          // by index of Specs; used by its worker
	missing   int             // number of Specs that are not delivered; used by its worker
	answered  time.Time       // when the last of Specs was delivered; used by its worker
	admission resize.Priority // the first priority, whose limits apply; a raise does not change it
	priority  resize.Priority // guarded by queue.mu once it is queued
	family    family
	cost      cost
	queued    time.Time
	// continuation is set for work that finishes an admitted request (resize.WithContinuation).
	continuation bool
	due          time.Time     // the sort key of its queue
	elem         *list.Element // in its queue, nil once removed; guarded by queue.mu

	// using is held while Original is read and while Made is called. Neither starts after ctx is
	// done, so once ctx is done and using is free, both belong to the caller again.
	using sync.Mutex

	done chan struct{}
	err  error
}

func jobOf(ctx context.Context, request resize.Job) *job {
	j := &job{
		Job: request, ctx: ctx, delivered: make([]bool, len(request.Specs)), missing: len(request.Specs),
		admission: resize.FirstPriorityOf(ctx), continuation: resize.IsContinuation(ctx), queued: time.Now(),
		done: make(chan struct{}),
	}
	j.priority = j.admission
	j.Quick = j.Quick || j.priority == page
	return j
}

func (j *job) end(err error) {
	j.err = err
	close(j.done)
}

// deliver passes an image to the caller, unless that has left.
func (j *job) deliver(i int, img resize.Image) {
	if i < len(j.Specs) {
		j.delivered[i] = true
		if j.missing--; j.missing == 0 {
			j.answered = time.Now()
		}
	}
	j.using.Lock()
	defer j.using.Unlock()
	if j.ctx.Err() == nil {
		j.Made(i, img)
	}
}

// left returns the indices of Specs that are not delivered.
func (j *job) left() (indices []int) {
	for i, delivered := range j.delivered {
		if !delivered {
			indices = append(indices, i)
		}
	}
	return indices
}

// slot hands jobs to one idle worker.
type slot struct {
	kind slotKind
	next chan *job // has capacity 1
}

func newSlot(kind slotKind) *slot { return &slot{kind, make(chan *job, 1)} }

// slotKind says which jobs a slot takes.
type slotKind int

const (
	forLive slotKind = iota // cheap live and page jobs
	forBoth                 // cheap jobs of all priorities
	// warmFirst is like forBoth, but takes jobs that were admitted as warm before page jobs. A warm job makes all sizes
	// of a post from one decode. If it had to wait for all pages, each of them would make the size that it shows by
	// itself, which delays the warm jobs even more.
	warmFirst
	forExpensive // expensive jobs of all priorities
)

// slotKindOf returns the kind of worker i, where those from cheap on are for expensive jobs.
func slotKindOf(i, cheap int) slotKind {
	switch {
	case i >= cheap:
		return forExpensive
	case cheap == 1:
		return forBoth
	case i == 0:
		return forLive
	case i == cheap-1:
		return warmFirst
	}
	return forBoth
}

func (k slotKind) takes(j *job) bool {
	if j.cost.expensive() {
		return k == forExpensive
	}
	return k == forBoth || k == warmFirst || k == forLive && j.priority != warm
}

// ageing is how many seconds later a job becomes due for each second of CPU time that it takes per image. A job
// of two seconds is overtaken by very short jobs that arrive in the eight seconds after it. So
// cheap jobs go first, but expensive ones are not starved.
const ageing = 4

// pageDelay is how much later a page job is due than a live one. Live jobs that arrive meanwhile go
// first, but a live request that has joined the fill of a page waits no longer than that.
const pageDelay = time.Second

// headStart is how much earlier a continuation is due than other jobs: longer than any job may
// wait.
const headStart = time.Hour

// queue matches jobs and idle workers. A job waits only while no suitable worker is idle or while a
// limit prevents it from starting. Jobs are sorted by due time; live and page jobs share one order.
type queue struct {
	mu       sync.Mutex
	waiting  [numPriorities]list.List // of *job, earliest due first; page jobs are in that of live
	depths   [numPriorities]int       // jobs that wait, by admission
	capacity [numPriorities]int       // jobs that may wait, by admission

	// maxWait is the CPU time per suitable worker that may wait before a cheap and an expensive
	// live or page job; 0 is unlimited.
	maxWait          [2]time.Duration
	slowdown         [2]slowdown // of cheap and expensive jobs
	workers          int         // for cheap jobs
	expensiveWorkers int
	limits           limits
	running          load
	idle             list.List // of *slot
	refusal          error     // if not nil, push returns it
}

// push queues j, or returns an error that wraps resize.ErrBusy, or the refusal.
func (q *queue) push(j *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != nil {
		return q.refusal
	}
	ahead := q.insertLocked(j)
	q.matchLocked()
	if j.elem == nil || j.continuation {
		return nil
	}
	switch n := q.depths[j.admission]; {
	case n > q.capacity[j.admission]:
		q.removeLocked(j.elem)
		return fmt.Errorf("%w: %d jobs are waiting", resize.ErrBusy, q.capacity[j.admission])
	case j.admission != warm && q.maxWaitFor(j) > 0 && q.slowdown[j.cost.class()].scale(ahead) >= q.maxWaitFor(j):
		q.removeLocked(j.elem)
		return fmt.Errorf("%w: %v of work is queued before it", resize.ErrBusy, ahead.Round(time.Millisecond))
	}
	return nil
}

// pushEarly hands j to an idle worker if no live or page job waits, and reports whether it has.
func (q *queue) pushEarly(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refusal != nil || q.waiting[live].Len() > 0 || j.cost.expensive() || !q.limits.admits(q.running, j.cost) {
		return false
	}
	s := q.takeSlotLocked(j)
	if s == nil {
		return false
	}
	q.handLocked(s, j)
	return true
}

// maxWaitFor returns how much work of its class may wait before j.
func (q *queue) maxWaitFor(j *job) time.Duration {
	class := j.cost.class()
	return q.maxWait[class] * time.Duration([2]int{q.workers, q.expensiveWorkers}[class])
}

// insertLocked queues j behind all jobs that are due no later, and returns the CPU time of those of its class.
// Jobs that were admitted as warm do not count, so that no live request is refused because of them.
func (q *queue) insertLocked(j *job) (ahead time.Duration) {
	j.due = j.queued.Add(ageing * j.cost.cpu / time.Duration(max(1, len(j.Specs))))
	if j.priority == page {
		j.due = j.due.Add(pageDelay)
	}
	if j.continuation {
		j.due = j.queued.Add(-headStart)
	}
	in := q.listOf(j)
	q.depths[j.admission]++
	next := in.Front()
	for ; next != nil && !j.due.Before(next.Value.(*job).due); next = next.Next() {
		before := next.Value.(*job)
		if before.admission != warm && before.cost.expensive() == j.cost.expensive() {
			ahead += before.cost.cpu
		}
	}
	if next == nil {
		j.elem = in.PushBack(j)
	} else {
		j.elem = in.InsertBefore(j, next)
	}
	return ahead
}

// listOf returns the list in which j waits.
func (q *queue) listOf(j *job) *list.List {
	if j.priority == page {
		return &q.waiting[live]
	}
	return &q.waiting[j.priority]
}

// matchLocked hands waiting jobs to idle workers until no pair is left.
func (q *queue) matchLocked() {
	for j := range q.admittedLocked() {
		if q.idle.Len() == 0 {
			return
		}
		s := q.takeSlotLocked(j)
		if s == nil {
			continue // no suitable worker is idle
		}
		q.removeLocked(j.elem)
		q.handLocked(s, j)
	}
}

// handLocked hands j, which does not wait, to s.
func (q *queue) handLocked(s *slot, j *job) {
	q.running.add(j.cost, 1)
	s.next <- j
}

// raise raises the priority of j. If it waits, it is quick then, since a caller waits for images that were to be made
// later. If a worker has it already, the priority counts if that worker withdraws.
func (q *queue) raise(j *job, to resize.Priority) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if to >= j.priority {
		return
	}
	if j.elem == nil {
		j.priority = to
		return
	}
	q.removeLocked(j.elem)
	j.priority, j.Quick = to, true
	q.insertLocked(j)
	q.matchLocked()
}

// admittedLocked yields the waiting jobs that the limits admit, in the order of their priorities. The caller may
// remove the job that it gets.
func (q *queue) admittedLocked() iter.Seq[*job] {
	return func(yield func(*job) bool) {
		large := false // a large job waits for memory: no other large job overtakes it, of no priority
		for l := live; l < numPriorities; l++ {
			for e := q.waiting[l].Front(); e != nil; {
				j := e.Value.(*job)
				e = e.Next()
				if large && j.cost.large() || !q.limits.admits(q.running, j.cost) {
					large = large || j.cost.large()
				} else if !yield(j) {
					return
				}
			}
		}
	}
}

// measured records how long a successful job took.
func (q *queue) measured(j *job, took time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.slowdown[j.cost.class()].observe(j.cost.cpu, took)
}

// done records that a job which was handed to a worker has ended.
func (q *queue) done(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running.add(j.cost, -1)
	q.matchLocked()
}

// spare reports whether no live or page job waits that s could take.
func (q *queue) spare(s *slot) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for e := q.waiting[live].Front(); e != nil; e = e.Next() {
		if s.kind.takes(e.Value.(*job)) {
			return false
		}
	}
	return true
}

// takeSlotLocked removes and returns an idle slot for j, or nil. A cheap live job prefers the slot
// that takes only live jobs, which leaves the others free for warm ones.
func (q *queue) takeSlotLocked(j *job) *slot {
	var best *list.Element
	for e := q.idle.Front(); e != nil; e = e.Next() {
		kind := e.Value.(*slot).kind
		ofPage := j.priority == page && j.admission != warm
		if !kind.takes(j) || kind == warmFirst && ofPage && q.warmCanStartLocked() {
			continue
		}
		if best == nil || kind == forLive {
			best = e
		}
	}
	if best == nil {
		return nil
	}
	return q.idle.Remove(best).(*slot)
}

// warmCanStartLocked reports whether a warm job waits only for a slot.
func (q *queue) warmCanStartLocked() bool {
	for j := range q.admittedLocked() {
		if j.priority == warm && warmFirst.takes(j) {
			return true
		}
	}
	return false
}

// offer hands the next job to s, now or when there is one.
func (q *queue) offer(s *slot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.idle.PushBack(s)
	q.matchLocked()
}

func (q *queue) removeLocked(elem *list.Element) {
	j := elem.Value.(*job)
	q.listOf(j).Remove(elem)
	q.depths[j.admission]--
	j.elem = nil
}

// withdraw removes s. A job that it has already received goes back to its place in the queue.
func (q *queue) withdraw(s *slot) {
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
		if j.Early != nil {
			refusal = resize.ErrNotEarly
		}
		if refusal == nil {
			q.insertLocked(j)
		}
		q.matchLocked()
	}
	q.mu.Unlock()
	if j != nil && refusal != nil {
		j.end(refusal)
	}
}

// remove removes j, whose caller has left, from the queue and reports whether it was still waiting.
func (q *queue) remove(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.elem == nil {
		return false
	}
	q.removeLocked(j.elem)
	q.matchLocked() // it may have held up other large jobs
	return true
}

// refuse ends all waiting and future jobs with err, until it is called with nil.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	q.refusal = err
	var out []*job
	for l := live; l < numPriorities && err != nil; l++ {
		for first := q.waiting[l].Front(); first != nil; first = q.waiting[l].Front() {
			out = append(out, first.Value.(*job))
			q.removeLocked(first)
		}
	}
	q.mu.Unlock()
	for _, j := range out {
		j.end(err)
	}
}

// depth returns how many jobs of priority l are waiting.
func (q *queue) depth(l resize.Priority) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.depths[l]
}
