package workers

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
)

func newQueue(liveRoom, warmRoom int) *queue {
	return &queue{
		capacity:         [numPriorities]int{live: liveRoom, page: liveRoom, warm: warmRoom},
		limits:           limits{avif: 1, memory: 1 << 30},
		workers:          1,
		expensiveWorkers: 1,
	}
}

// clock is the arrival time of the newest job. Jobs arrive a millisecond apart.
var clock = time.Unix(0, 0)

func newJob(l resize.Priority) *job {
	clock = clock.Add(time.Millisecond)
	return &job{admission: l, priority: l, queued: clock, done: make(chan struct{})}
}

func newJobWithCost(l resize.Priority, c cost) *job {
	j := newJob(l)
	j.cost = c
	return j
}

// received returns the job that s has received, or nil.
func received(s *slot) *job {
	select {
	case j := <-s.next:
		return j
	default:
		return nil
	}
}

func TestQueue_Offer_LiveBeforeWarmInOrder(t *testing.T) {
	q := newQueue(9, 9)
	jobs := []*job{newJob(warm), newJob(live), newJob(warm), newJob(live)}
	for _, j := range jobs {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	s := newSlot(forBoth)
	for _, want := range []*job{jobs[1], jobs[3], jobs[0], jobs[2], nil} {
		q.offer(s)
		if got := received(s); got != want {
			t.Errorf("received %p, want %p", got, want)
		}
	}
}

func TestQueue_Offer_LiveSlotTakesNoWarmJobs(t *testing.T) {
	q := newQueue(9, 9)
	reserved, common := newSlot(forLive), newSlot(forBoth)
	q.offer(common)
	q.offer(reserved)
	first, second, third := newJob(live), newJob(warm), newJob(warm)
	for _, j := range []*job{first, second, third} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	if received(reserved) != first || received(common) != second {
		t.Error("the live job did not use the reserved slot")
	}
	q.offer(reserved)
	if j := received(reserved); j != nil || q.depth(warm) != 1 {
		t.Errorf("the reserved slot took %p", j)
	}
	q.offer(common)
	if received(common) != third {
		t.Error("the common slot does not take the warm job")
	}
}

// A page job waits for the live jobs of the next second, may use the slot that warm jobs may not,
// and has a capacity of its own.
func TestQueue_Push_PageBetweenLiveAndWarm(t *testing.T) {
	q := newQueue(2, 2)
	jobs := []*job{newJob(warm), newJob(page), newJob(live), newJob(live), newJob(page)}
	jobs[3].queued = jobs[1].queued.Add(pageDelay + time.Millisecond)
	jobs[4].queued = jobs[3].queued
	if got := order(t, q, jobs...); !slices.Equal(got, []int{2, 1, 3, 4, 0}) {
		t.Errorf("the order is %v", got)
	}
	reserved := newSlot(forLive)
	q.idle.Init()
	q.offer(reserved)
	j := newJob(page)
	if err := q.push(j); err != nil || received(reserved) != j {
		t.Errorf("the page job does not use the slot of live jobs, %v", err)
	}
	for i, want := range []error{nil, nil, resize.ErrBusy} {
		if err := q.push(newJob(page)); !errors.Is(err, want) {
			t.Errorf("page job %d: %v, want %v", i, err, want)
		}
	}
	if err := q.push(newJob(live)); err != nil || q.depth(page) != 2 || q.depth(live) != 1 {
		t.Errorf("%d page and %d live jobs wait, %v", q.depth(page), q.depth(live), err)
	}
}

func TestSlotKindOf(t *testing.T) {
	for cheap, want := range map[int][]slotKind{
		1: {forBoth, forExpensive},
		2: {forLive, warmFirst, forExpensive},
		4: {forLive, forBoth, forBoth, warmFirst, forExpensive},
	} {
		for i, kind := range want {
			if got := slotKindOf(i, cheap); got != kind {
				t.Errorf("worker %d, %d for cheap jobs: kind %d, want %d", i, cheap, got, kind)
			}
		}
	}
}

func TestQueue_Offer_WarmFirst(t *testing.T) {
	q := newQueue(9, 9)
	jobs := []*job{newJob(page), newJob(warm), newJob(live), newJob(page)}
	for _, j := range jobs {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	s := newSlot(warmFirst)
	for _, want := range []*job{jobs[2], jobs[1], jobs[0], jobs[3]} {
		q.offer(s)
		if got := received(s); got != want {
			t.Errorf("received job %d, want %d", slices.Index(jobs, got), slices.Index(jobs, want))
		}
	}
	large := cost{memory: 1 << 31}
	q.running.add(large, 1) // so that the warm job may not start
	for _, j := range []*job{newJobWithCost(warm, large), jobs[0]} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	q.offer(s)
	if received(s) != jobs[0] {
		t.Error("the page job waits for a warm job that may not start")
	}
}

// A job whose priority is raised goes to its new place and is quick.
func TestQueue_Raise(t *testing.T) {
	q := newQueue(9, 9)
	jobs := []*job{newJob(page), newJob(warm), newJob(warm), newJob(page)}
	for _, j := range jobs {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	q.raise(jobs[2], page)
	q.raise(jobs[0], warm) // it has a higher one
	q.remove(jobs[3])      // its caller has left
	q.raise(jobs[3], live)
	if q.depth(page) != 1 || q.depth(warm) != 2 || q.depth(live) != 0 {
		t.Errorf("%d page and %d warm jobs wait, want those that were admitted as such: 1 and 2", q.depth(page), q.depth(warm))
	}
	s := newSlot(forLive)
	for _, want := range []*job{jobs[0], jobs[2], nil} {
		q.offer(s)
		if got := received(s); got != want {
			t.Errorf("received job %d, want %d", slices.Index(jobs, got), slices.Index(jobs, want))
		}
	}
	q.raise(jobs[1], page)
	if received(s) != jobs[1] {
		t.Error("the slot of live and page jobs does not take the one that was raised")
	}
	if jobs[0].Quick || !jobs[1].Quick || !jobs[2].Quick {
		t.Error("want only the jobs that were raised to be quick")
	}
}

// A job that is raised after it was handed over has its new priority if its worker withdraws.
func TestQueue_Raise_BeforeWithdraw(t *testing.T) {
	q := newQueue(9, 9)
	s, other := newSlot(forBoth), newSlot(forLive)
	q.offer(s)
	j := newJob(warm)
	if err := q.push(j); err != nil {
		t.Fatal(err)
	}
	q.raise(j, live)
	q.offer(other)
	q.withdraw(s)
	if received(other) != j {
		t.Error("the slot of live jobs does not take it")
	}
}

// Warm jobs that were raised take no room from live and page jobs, and keep their slot.
func TestQueue_Raise_KeepsAdmission(t *testing.T) {
	q := newQueue(2, 2)
	q.maxWait = [2]time.Duration{time.Second, time.Second}
	var raised []*job
	for _, to := range []resize.Priority{page, live} {
		j := newJobWithCost(warm, cost{cpu: 200 * time.Millisecond})
		j.ctx = t.Context()
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
		q.raise(j, to)
		raised = append(raised, j)
	}
	if err := q.push(newJob(warm)); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("a third warm job: %v, want ErrBusy", err)
	}
	for range 2 {
		for _, l := range []resize.Priority{page, live} {
			j := newJobWithCost(l, cost{cpu: 400 * time.Millisecond})
			if err := q.push(j); err != nil {
				t.Errorf("a job of priority %d behind those that were raised: %v", l, err)
			}
			q.remove(j)
		}
	}
	q.raise(raised[1], page)
	bulk := newJob(warm)
	q.capacity[warm]++
	if err := q.push(bulk); err != nil {
		t.Fatal(err)
	}
	s := newSlot(warmFirst)
	q.offer(s)
	if got := received(s); got == bulk || got == nil {
		t.Error("the slot for warm jobs prefers one that was not raised")
	}
}

// The time of a job of many images counts for each of them.
func TestQueue_Push_CostPerImage(t *testing.T) {
	q := newQueue(9, 9)
	one := newJobWithCost(live, cost{cpu: 150 * time.Millisecond})
	six := newJobWithCost(live, cost{cpu: 350 * time.Millisecond})
	one.Specs, six.Specs = make([]resize.Spec, 1), make([]resize.Spec, 6)
	if got := order(t, q, one, six); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("the order is %v, want the job of six images first", got)
	}
}

// Warm jobs are not refused for the work before them: they can wait.
func TestQueue_Push_WarmMayWaitLong(t *testing.T) {
	q := newQueue(9, 9)
	q.maxWait = [2]time.Duration{time.Second, time.Second}
	for _, c := range []struct {
		priority resize.Priority
		want     error
	}{{warm, nil}, {warm, nil}, {page, nil}, {page, resize.ErrBusy}, {live, nil}} {
		// Live and page jobs wait together.
		if err := q.push(newJobWithCost(c.priority, cost{cpu: 2 * time.Second})); !errors.Is(err, c.want) {
			t.Errorf("priority %d: %v, want %v", c.priority, err, c.want)
		}
	}
}

func TestJobOf_QuickForPages(t *testing.T) {
	for l := live; l < numPriorities; l++ {
		if j := jobOf(resize.WithPriority(t.Context(), l), resize.Job{}); j.Quick != (l == page) {
			t.Errorf("priority %d: quick %v", l, j.Quick)
		}
	}
}

func TestQueue_Remove_FreesCapacity(t *testing.T) {
	q := newQueue(1, 1)
	j := newJob(live)
	if err := q.push(j); err != nil {
		t.Fatal(err)
	}
	if err := q.push(newJob(live)); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	if !q.remove(j) || q.remove(j) {
		t.Error("remove must succeed exactly once")
	}
	if err := q.push(newJob(live)); err != nil {
		t.Error(err)
	}
}

func TestQueue_Withdraw_RequeuesReceivedJob(t *testing.T) {
	q := newQueue(1, 1)
	s := newSlot(forBoth)
	q.offer(s)
	handed, later := newJob(live), newJob(live)
	for _, j := range []*job{handed, later} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	q.withdraw(s)
	other := newSlot(forBoth)
	q.offer(other)
	if received(other) != handed {
		t.Error("the job did not go back to the front")
	}
	// If another worker is idle, the job goes there at once.
	q.offer(other)
	if received(other) != later {
		t.Error("the later one is not next")
	}
	q.offer(s)
	if err := q.push(newJob(live)); err != nil {
		t.Fatal(err)
	}
	q.offer(other)
	q.withdraw(s)
	if received(other) == nil {
		t.Error("a job waits although a worker is idle")
	}
}

func TestQueue_Refuse(t *testing.T) {
	q := newQueue(2, 2)
	why := errors.New("why")
	s := newSlot(forBoth)
	q.offer(s)
	handed, waiting := newJob(live), newJob(warm)
	for _, j := range []*job{handed, waiting} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	q.refuse(why)
	<-waiting.done
	q.withdraw(s)
	<-handed.done
	if handed.err != why || waiting.err != why || q.push(newJob(live)) != why {
		t.Error("a job was not refused")
	}
	q.refuse(nil)
	if err := q.push(newJob(live)); err != nil {
		t.Error(err)
	}
}

// For random sequences: no job waits while a suitable slot is idle, and each job is handed out
// exactly once.
func TestQueue_NoJobWaitsForIdleSlot(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := newQueue(3, 2)
		slots := []*slot{newSlot(forLive), newSlot(forBoth), newSlot(warmFirst)}
		sitting := map[*slot]bool{}
		inside := map[*job]bool{}
		take := func(s *slot) {
			if j := received(s); j != nil {
				if !inside[j] || !s.kind.takes(j) {
					t.Fatalf("seed %d: a job is handed out twice or to the wrong slot", seed)
				}
				delete(inside, j)
				sitting[s] = false
			}
		}
		for range 200 {
			switch s := slots[r.IntN(len(slots))]; r.IntN(4) {
			case 0, 1:
				if j := newJob(resize.Priority(r.IntN(int(numPriorities)))); q.push(j) == nil {
					inside[j] = true
				}
			case 2:
				take(s)
				if !sitting[s] {
					sitting[s] = true
					q.offer(s)
				}
			case 3:
				if sitting[s] {
					q.withdraw(s)
					sitting[s] = false
				}
			}
			idle, idleWarm := q.idle.Len(), 0
			for e := q.idle.Front(); e != nil; e = e.Next() {
				if kind := e.Value.(*slot).kind; kind == forBoth || kind == warmFirst {
					idleWarm++
				}
			}
			if q.depth(live)+q.depth(page) > 0 && idle > 0 || q.depth(warm) > 0 && idleWarm > 0 {
				t.Fatalf("seed %d: %d live and %d warm jobs wait while %d workers do, %d of them for both",
					seed, q.depth(live), q.depth(warm), idle, idleWarm)
			}
		}
		for _, s := range slots {
			take(s)
		}
		if n := q.depth(live) + q.depth(page) + q.depth(warm); n != len(inside) {
			t.Fatalf("seed %d: %d jobs are in, %d wait", seed, len(inside), n)
		}
	}
}

// order pushes jobs and returns the order in which one worker receives them.
func order(t *testing.T, q *queue, jobs ...*job) (got []int) {
	t.Helper()
	for _, j := range jobs {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	s := newSlot(forBoth)
	for range jobs {
		q.offer(s)
		j := received(s)
		got = append(got, slices.Index(jobs, j))
		if j != nil {
			q.done(j)
		}
	}
	return got
}

func TestQueue_Push_ContinuationGoesFirst(t *testing.T) {
	q := newQueue(1, 1)
	waits, rest := newJob(live), newJobWithCost(live, cost{cpu: 250 * time.Millisecond})
	rest.continuation = true
	if got := order(t, q, waits, rest); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("order is %v, want the continuation first", got)
	}
}

func TestQueue_Push_CheapJobsFirstWithoutStarvation(t *testing.T) {
	long := newJobWithCost(live, cost{cpu: 250 * time.Millisecond})
	short := newJobWithCost(live, cost{cpu: 50 * time.Millisecond})
	late := newJobWithCost(live, cost{cpu: 50 * time.Millisecond})
	late.queued = long.queued.Add(time.Second)
	if got := order(t, newQueue(9, 9), long, late, short); !slices.Equal(got, []int{2, 0, 1}) {
		t.Errorf("order is %v, want the short job, the long job, then the later job", got)
	}
}

func TestQueue_ExpensiveJobsUseOwnSlots(t *testing.T) {
	q := newQueue(9, 9)
	reserved, common, own := newSlot(forLive), newSlot(forBoth), newSlot(forExpensive)
	for _, s := range []*slot{reserved, common, own} {
		q.offer(s)
	}
	first, second := newJobWithCost(warm, cost{cpu: time.Second}), newJobWithCost(live, cost{cpu: time.Second})
	cheap, warmed := newJob(live), newJob(warm)
	for _, j := range []*job{first, second, cheap, warmed} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	if received(own) != first || received(reserved) != cheap || received(common) != warmed || q.depth(live) != 1 {
		t.Error("the expensive job is not in its slot, or a cheap one does not overtake the waiting expensive one")
	}
	later := newJobWithCost(warm, cost{cpu: time.Second})
	if err := q.push(later); err != nil {
		t.Fatal(err)
	}
	q.done(first)
	for _, want := range []*job{second, later} { // live before warm
		q.offer(own)
		if received(own) != want {
			t.Error("the next expensive job was not handed out, or a warm job came before a live one")
		}
	}
}

func TestQueue_LimitsAVIFEncoders(t *testing.T) {
	q := newQueue(9, 9)
	a, b := newSlot(forBoth), newSlot(forBoth)
	q.offer(a)
	q.offer(b)
	for range 2 {
		if err := q.push(newJobWithCost(live, cost{avif: true})); err != nil {
			t.Fatal(err)
		}
	}
	if q.depth(live) != 1 {
		t.Errorf("%d wait, want 1", q.depth(live))
	}
}

func TestQueue_LimitsMemoryOfLargeJobs(t *testing.T) {
	for _, others := range []resize.Priority{live, warm} {
		q := newQueue(9, 9)
		slots := []*slot{newSlot(forBoth), newSlot(forBoth), newSlot(forBoth)}
		for _, s := range slots {
			q.offer(s)
		}
		huge := newJobWithCost(live, cost{memory: 2 << 30})
		half := newJobWithCost(others, cost{memory: 512 << 20})
		small := newJobWithCost(others, cost{memory: 64 << 20})
		later := newJobWithCost(others, cost{memory: 256 << 20})
		for _, j := range []*job{half, huge, later, small} {
			if err := q.push(j); err != nil {
				t.Fatal(err)
			}
		}
		running := map[*job]bool{}
		gather := func() {
			for _, s := range slots {
				if j := received(s); j != nil {
					running[j] = true
				}
			}
		}
		gather()
		if !running[half] || !running[small] || running[huge] || running[later] {
			t.Fatalf("priority %v: half %v, small %v, huge %v, later %v: no large one may pass the one that waits",
				others, running[half], running[small], running[huge], running[later])
		}
		q.done(half)
		gather()
		if !running[huge] || running[later] {
			t.Errorf("priority %v: huge %v, later %v, want the huge one alone", others, running[huge], running[later])
		}
		q.offer(slots[0])
		q.done(huge)
		gather()
		if !running[later] {
			t.Errorf("priority %v: the last one does not run", others)
		}
	}
}

// A job that leaves the queue holds up no other.
func TestQueue_Remove_StartsWhatWaitedBehind(t *testing.T) {
	q := newQueue(9, 9)
	slots := []*slot{newSlot(forBoth), newSlot(forBoth)}
	for _, s := range slots {
		q.offer(s)
	}
	half := newJobWithCost(live, cost{memory: 512 << 20})
	huge := newJobWithCost(live, cost{memory: 2 << 30})
	later := newJobWithCost(live, cost{memory: 128 << 20})
	for _, j := range []*job{half, huge, later} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	if !q.remove(huge) {
		t.Fatal("the huge job does not wait")
	}
	if first, second := received(slots[0]), received(slots[1]); first != half || second != later {
		t.Errorf("%v and %v run, want %v and %v", first, second, half, later)
	}
}

func TestQueue_Push_BusyAboveMaxWait(t *testing.T) {
	q := newQueue(9, 9)
	q.maxWait[1] = 3 * time.Second
	for _, want := range []error{nil, nil, resize.ErrBusy} {
		if err := q.push(newJobWithCost(live, cost{cpu: 1500 * time.Millisecond})); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if err := q.push(newJobWithCost(live, cost{})); err != nil {
		t.Errorf("a job without cost: %v", err)
	}
	few := newQueue(9, 9)
	few.maxWait, few.workers = [2]time.Duration{time.Second, time.Second}, 3 // and one for expensive jobs
	for _, c := range []struct {
		cost time.Duration
		want error
	}{{1500 * time.Millisecond, nil}, {1500 * time.Millisecond, resize.ErrBusy}, {290 * time.Millisecond, nil}} {
		if err := few.push(newJobWithCost(live, cost{cpu: c.cost})); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.cost, err, c.want)
		}
	}
	alone := newQueue(9, 9)
	alone.maxWait[1] = time.Second
	if err := alone.push(newJobWithCost(live, cost{cpu: 20 * time.Second})); err != nil {
		t.Errorf("a job above MaxWait in an empty queue: %v", err)
	}
}

// On a machine that is four times slower than predicted, a quarter of the work may wait.
func TestQueue_Push_MaxWaitFollowsSlowdown(t *testing.T) {
	admitted := func(q *queue) (n int) {
		for q.push(newJobWithCost(live, cost{cpu: 100 * time.Millisecond})) == nil {
			n++
		}
		return n
	}
	fast, slow := newQueue(99, 9), newQueue(99, 9)
	for _, q := range []*queue{fast, slow} {
		q.maxWait = [2]time.Duration{2 * time.Second, 2 * time.Second}
	}
	for range 200 {
		slow.measured(newJobWithCost(live, cost{cpu: 100 * time.Millisecond}), 400*time.Millisecond)
		slow.measured(newJobWithCost(live, cost{cpu: time.Millisecond}), time.Second) // too short to count
		fast.measured(newJobWithCost(live, cost{cpu: time.Second}), 4*time.Second)    // another class
	}
	if got := [2]int{admitted(fast), admitted(slow)}; got[0] != 20 || got[1] < 5 || got[1] > 6 { // as it rounds
		t.Errorf("%d wait at the predicted pace and %d at a quarter of it, want 20 and 5", got[0], got[1])
	}
}

func TestQueue_PushEarly_NeedsIdleSlotAndEmptyQueue(t *testing.T) {
	q, s := newQueue(9, 9), newSlot(forBoth)
	early := func() *job {
		j := newJob(live)
		j.Early = resize.NewArriving(1)
		return j
	}
	if q.pushEarly(early()) {
		t.Error("accepted without an idle slot")
	}
	q.offer(s)
	j := early()
	if !q.pushEarly(j) || received(s) != j {
		t.Fatal("not handed to the idle slot")
	}
	q.done(j)
	q.offer(s)
	expensive := early()
	expensive.cost = cost{cpu: expensiveCPU, first: expensiveCPU}
	if q.pushEarly(expensive) {
		t.Error("accepted an expensive job")
	}
	waits := newJobWithCost(live, expensive.cost)
	if err := q.push(waits); err != nil || q.pushEarly(early()) {
		t.Errorf("accepted while a live job waits, %v", err)
	}
	q.remove(waits)
	if j = early(); !q.pushEarly(j) {
		t.Fatal("not accepted")
	}
	q.withdraw(s)
	if <-j.done; !errors.Is(j.err, resize.ErrNotEarly) || q.depth(live) != 0 {
		t.Errorf("its worker withdraws: %v with %d jobs waiting, want ErrNotEarly", j.err, q.depth(live))
	}
}
