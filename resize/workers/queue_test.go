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
	return &queue{room: [lanes]int{live: liveRoom, warm: warmRoom}, caps: caps{avif: 1, memory: 1 << 30}, workers: 1, dear: 1}
}

// Jobs are made in the order in which they come, a millisecond apart.
var clock = time.Unix(0, 0)

func newJob(l resize.Priority) *job {
	clock = clock.Add(time.Millisecond)
	return &job{lane: l, queued: clock, done: make(chan struct{})}
}

func newCostly(l resize.Priority, c cost) *job {
	j := newJob(l)
	j.cost = c
	return j
}

// at returns the job that has come to s, or nil.
func at(s *seat) *job {
	select {
	case j := <-s.next:
		return j
	default:
		return nil
	}
}

func TestLanesAreFirstComeFirstServedAndLiveGoesFirst(t *testing.T) {
	q := newQueue(9, 9)
	jobs := []*job{newJob(warm), newJob(live), newJob(warm), newJob(live)}
	for _, j := range jobs {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	s := newSeat(forBoth)
	for _, want := range []*job{jobs[1], jobs[3], jobs[0], jobs[2], nil} {
		q.sit(s)
		if got := at(s); got != want {
			t.Errorf("%p comes, want %p", got, want)
		}
	}
}

func TestASeatForLiveJobsTakesNoWarmOnes(t *testing.T) {
	q := newQueue(9, 9)
	reserved, common := newSeat(forLive), newSeat(forBoth)
	q.sit(common)
	q.sit(reserved)
	first, second, third := newJob(live), newJob(warm), newJob(warm)
	for _, j := range []*job{first, second, third} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	if at(reserved) != first || at(common) != second {
		t.Error("the live job did not leave the common seat to the warm one")
	}
	q.sit(reserved)
	if j := at(reserved); j != nil || q.depth(warm) != 1 {
		t.Errorf("it took %p", j)
	}
	q.sit(common)
	if at(common) != third {
		t.Error("the common seat does not take it")
	}
}

func TestWhoLeavesMakesRoom(t *testing.T) {
	q := newQueue(1, 1)
	j := newJob(live)
	if err := q.push(j); err != nil {
		t.Fatal(err)
	}
	if err := q.push(newJob(live)); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	if !q.leave(j) || q.leave(j) {
		t.Error("one who waited can leave, and only once")
	}
	if err := q.push(newJob(live)); err != nil {
		t.Error(err)
	}
}

func TestAJobThatCameToAWorkerThatCannotGoesBackToTheFront(t *testing.T) {
	q := newQueue(1, 1)
	s := newSeat(forBoth)
	q.sit(s)
	handed, later := newJob(live), newJob(live)
	for _, j := range []*job{handed, later} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	q.rise(s)
	other := newSeat(forBoth)
	q.sit(other)
	if at(other) != handed {
		t.Error("it lost its place")
	}
	// With another worker idle it goes there at once.
	q.sit(other)
	if at(other) != later {
		t.Error("the later one is not next")
	}
	q.sit(s)
	if err := q.push(newJob(live)); err != nil {
		t.Fatal(err)
	}
	q.sit(other)
	q.rise(s)
	if at(other) == nil {
		t.Error("it waits although a worker does")
	}
}

func TestARefusalAnswersAllAndEnds(t *testing.T) {
	q := newQueue(2, 2)
	why := errors.New("why")
	s := newSeat(forBoth)
	q.sit(s)
	handed, waiting := newJob(live), newJob(warm)
	for _, j := range []*job{handed, waiting} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	q.refuse(why)
	<-waiting.done
	q.rise(s)
	<-handed.done
	if handed.err != why || waiting.err != why || q.push(newJob(live)) != why {
		t.Error("not all were refused")
	}
	q.refuse(nil)
	if err := q.push(newJob(live)); err != nil {
		t.Error(err)
	}
}

// Whatever comes in whatever order: no job waits while a worker does that may take it, none
// is lost, and none is handed out twice.
func TestNoJobWaitsWhileAWorkerDoes(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := newQueue(3, 2)
		seats := []*seat{newSeat(forLive), newSeat(forBoth), newSeat(forBoth)}
		sitting := map[*seat]bool{}
		inside := map[*job]bool{}
		take := func(s *seat) {
			if j := at(s); j != nil {
				if !inside[j] || !s.kind.takes(j) {
					t.Fatalf("seed %d: a job is handed out twice or to the wrong seat", seed)
				}
				delete(inside, j)
				sitting[s] = false
			}
		}
		for range 200 {
			switch s := seats[r.IntN(len(seats))]; r.IntN(4) {
			case 0, 1:
				if j := newJob(resize.Priority(r.IntN(int(lanes)))); q.push(j) == nil {
					inside[j] = true
				}
			case 2:
				take(s)
				if !sitting[s] {
					sitting[s] = true
					q.sit(s)
				}
			case 3:
				if sitting[s] {
					q.rise(s)
					sitting[s] = false
				}
			}
			idle, idleWarm := q.idle.Len(), 0
			for e := q.idle.Front(); e != nil; e = e.Next() {
				if e.Value.(*seat).kind == forBoth {
					idleWarm++
				}
			}
			if q.depth(live) > 0 && idle > 0 || q.depth(warm) > 0 && idleWarm > 0 {
				t.Fatalf("seed %d: %d live and %d warm jobs wait while %d workers do, %d of them for both", seed, q.depth(live), q.depth(warm), idle, idleWarm)
			}
		}
		for _, s := range seats {
			take(s)
		}
		if n := q.depth(live) + q.depth(warm); n != len(inside) {
			t.Fatalf("seed %d: %d jobs are in, %d wait", seed, len(inside), n)
		}
	}
}

// order pushes jobs and returns in which order one worker is given them.
func order(t *testing.T, q *queue, jobs ...*job) (got []int) {
	t.Helper()
	for _, j := range jobs {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	s := newSeat(forBoth)
	for range jobs {
		q.sit(s)
		j := at(s)
		got = append(got, slices.Index(jobs, j))
		if j != nil {
			q.done(j)
		}
	}
	return got
}

func TestWhatHasBegunIsNotRefusedAndGoesFirst(t *testing.T) {
	q := newQueue(1, 1)
	waits, rest := newJob(live), newCostly(live, cost{cpu: 250 * time.Millisecond})
	rest.begun = true
	if got := order(t, q, waits, rest); !slices.Equal(got, []int{1, 0}) {
		t.Errorf("they come as %v, want what has begun first", got)
	}
}

func TestCheaperJobsGoFirstAndOthersAreNotForgotten(t *testing.T) {
	long, short := newCostly(live, cost{cpu: 250 * time.Millisecond}), newCostly(live, cost{cpu: 50 * time.Millisecond})
	late := newCostly(live, cost{cpu: 50 * time.Millisecond})
	late.queued = long.queued.Add(time.Second)
	if got := order(t, newQueue(9, 9), long, late, short); !slices.Equal(got, []int{2, 0, 1}) {
		t.Errorf("they come as %v, want the short one, the long one, and the one of a second later", got)
	}
}

func TestDearJobsHaveSeatsOfTheirOwnAndTakeNoOther(t *testing.T) {
	q := newQueue(9, 9)
	reserved, common, own := newSeat(forLive), newSeat(forBoth), newSeat(forDear)
	for _, s := range []*seat{reserved, common, own} {
		q.sit(s)
	}
	first, second := newCostly(warm, cost{cpu: time.Second}), newCostly(live, cost{cpu: time.Second})
	cheap, warmed := newJob(live), newJob(warm)
	for _, j := range []*job{first, second, cheap, warmed} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	if at(own) != first || at(reserved) != cheap || at(common) != warmed || q.depth(live) != 1 {
		t.Error("the dear one is not at its own seat, or a cheap one does not pass the dear one that waits")
	}
	later := newCostly(warm, cost{cpu: time.Second})
	if err := q.push(later); err != nil {
		t.Fatal(err)
	}
	q.done(first)
	for _, want := range []*job{second, later} { // live before warm
		q.sit(own)
		if at(own) != want {
			t.Error("the next dear one does not come when the first is done, or the warm one comes before the live one")
		}
	}
}

func TestEncodersOfAVIFAreCapped(t *testing.T) {
	q := newQueue(9, 9)
	a, b := newSeat(forBoth), newSeat(forBoth)
	q.sit(a)
	q.sit(b)
	for range 2 {
		if err := q.push(newCostly(live, cost{avif: true})); err != nil {
			t.Fatal(err)
		}
	}
	if q.depth(live) != 1 {
		t.Errorf("%d wait, want 1", q.depth(live))
	}
}

func TestLargeJobsAreAdmittedByTheirMemoryAndOneAloneAlways(t *testing.T) {
	q := newQueue(9, 9)
	seats := []*seat{newSeat(forBoth), newSeat(forBoth), newSeat(forBoth)}
	for _, s := range seats {
		q.sit(s)
	}
	huge, half, small := newCostly(live, cost{memory: 2 << 30}), newCostly(live, cost{memory: 512 << 20}), newCostly(live, cost{memory: 64 << 20})
	later := newCostly(live, cost{memory: 256 << 20})
	for _, j := range []*job{half, huge, later, small} {
		if err := q.push(j); err != nil {
			t.Fatal(err)
		}
	}
	running := map[*job]bool{}
	gather := func() {
		for _, s := range seats {
			if j := at(s); j != nil {
				running[j] = true
			}
		}
	}
	gather()
	if !running[half] || !running[small] || running[huge] || running[later] {
		t.Fatalf("half %v, small %v, huge %v, later %v: no large one may pass the one that waits", running[half], running[small], running[huge], running[later])
	}
	q.done(half)
	gather()
	if !running[huge] || running[later] {
		t.Errorf("the huge one does not run alone: %v, later %v", running[huge], running[later])
	}
	q.sit(seats[0])
	q.done(huge)
	gather()
	if !running[later] {
		t.Error("the last one does not run")
	}
}

func TestTooMuchWorkThatWaitsIsRefusedAtOnce(t *testing.T) {
	q := newQueue(9, 9)
	q.most[1] = 3 * time.Second
	for _, want := range []error{nil, nil, resize.ErrBusy} {
		if err := q.push(newCostly(live, cost{cpu: 1500 * time.Millisecond})); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if err := q.push(newCostly(live, cost{})); err != nil {
		t.Errorf("one that costs nothing: %v", err)
	}
	few := newQueue(9, 9)
	few.most, few.workers = [2]time.Duration{time.Second, time.Second}, 3 // and one that does what is dear
	for _, c := range []struct {
		cost time.Duration
		want error
	}{{1500 * time.Millisecond, nil}, {1500 * time.Millisecond, resize.ErrBusy}, {290 * time.Millisecond, nil}} {
		if err := few.push(newCostly(live, cost{cpu: c.cost})); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.cost, err, c.want)
		}
	}
	alone := newQueue(9, 9)
	alone.most[1] = time.Second
	if err := alone.push(newCostly(live, cost{cpu: 20 * time.Second})); err != nil {
		t.Errorf("one that costs more than may wait, before any other: %v", err)
	}
}

// On a machine that is four times as slow as predicted a quarter as much may wait.
func TestWhatMayWaitIsWhatThisMachineDoesInTime(t *testing.T) {
	admitted := func(q *queue) (n int) {
		for q.push(newCostly(live, cost{cpu: 100 * time.Millisecond})) == nil {
			n++
		}
		return n
	}
	fast, slow := newQueue(99, 9), newQueue(99, 9)
	for _, q := range []*queue{fast, slow} {
		q.most = [2]time.Duration{2 * time.Second, 2 * time.Second}
	}
	for range 200 {
		slow.measured(newCostly(live, cost{cpu: 100 * time.Millisecond}), 400*time.Millisecond)
		slow.measured(newCostly(live, cost{cpu: time.Millisecond}), time.Second) // says nothing
		fast.measured(newCostly(live, cost{cpu: time.Second}), 4*time.Second)    // is a dear one's
	}
	if got := [2]int{admitted(fast), admitted(slow)}; got[0] != 20 || got[1] < 5 || got[1] > 6 { // as it rounds
		t.Errorf("%d wait at the predicted pace and %d at a quarter of it, want 20 and 5", got[0], got[1])
	}
}
