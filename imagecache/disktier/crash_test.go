package disktier_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache/disktier"
)

const (
	crashDir   = "DISKTIER_CRASH_DIR"
	crashFirst = "DISKTIER_CRASH_FIRST"
	crashBatch = 50
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

func crashConfig(dir string) disktier.Config {
	return quiet(disktier.Config{Dir: dir, MaxBytes: 512 << 20, SegmentBytes: 2 << 20})
}

func crashImageSize(n int) int { return 500 + n*37%20_000 }

// writeUntilKilled puts images from one number on, and says what it has done:
//
//	sync N     the images below N are durable
//	purging N  the original of image N may be purged
//	purge N    it is
//
// Readers read all the time.
func writeUntilKilled(dir string) {
	var first int
	fmt.Sscan(os.Getenv(crashFirst), &first)
	tier, err := disktier.Open(crashConfig(dir))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	go tier.Run(context.Background())
	for range 2 {
		go func() {
			for {
				tier.Get(context.Background(), keyOf(rand.IntN(first+1000)))
			}
		}()
	}
	for n, synced := first, first; ; {
		for range crashBatch {
			tier.Put(context.Background(), keyOf(n), imageOf(n, crashImageSize(n)))
			n++
		}
		if rand.IntN(2) == 0 {
			tier.Sync(context.Background())
			fmt.Println("sync", n)
			synced = n
		}
		if rand.IntN(4) == 0 && synced > 8 {
			purged := rand.IntN(synced - 8) // no later process puts an image of this original again
			fmt.Println("purging", purged)
			if _, err := tier.Purge(context.Background(), targetOf(purged)); err == nil {
				fmt.Println("purge", purged)
			}
		}
	}
}

// The processes of all kills share a directory. Images that were synced in one process are there in
// the next, purged images are not, and no byte is wrong.
func TestTier_Sync_SurvivesAKill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills twelve processes")
	}
	lives := 12
	if n, err := strconv.Atoi(os.Getenv("DISKTIER_LIVES")); err == nil {
		lives = n // 60 take a minute
	}
	dir := t.TempDir()
	synced := make(map[int]bool)
	purged := make(map[int]bool)
	next := 0
	for life := range lives {
		next = liveAndDie(t, dir, next, synced, purged)

		tier, err := disktier.Open(crashConfig(dir))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- tier.Run(context.Background()) }()
		r := recovered(t, running{Tier: tier, t: t})
		hits, all := 0, 0
		for n := range next {
			img, err := r.Get(context.Background(), keyOf(n))
			switch {
			case purged[n/4] && err == nil:
				t.Errorf("life %d: image %d was purged and is there", life, n)
			case purged[n/4]:
				continue
			case err != nil && synced[n]:
				t.Errorf("life %d: image %d was synced and is lost: %v", life, n, err)
			case err == nil && string(img.Body) != string(imageOf(n, crashImageSize(n)).Body):
				t.Fatalf("life %d: image %d has wrong bytes", life, n)
			}
			all++
			if err == nil {
				hits++
			}
		}
		if hits*10 < all*9 {
			t.Errorf("life %d: %d of %d hit", life, hits, all)
		}
		if life%2 == 0 { // otherwise the next process begins with the directory as this one left it
			if err := tier.Close(); err != nil {
				t.Fatal(err)
			}
			<-ended
		} else {
			dir = copyDir(t, dir)
			t.Cleanup(func() { tier.Close() })
		}
		if t.Failed() {
			return
		}
	}
}

// liveAndDie runs a writer, kills it, and records what it printed. It returns a number above that
// of every image that it reported as put.
func liveAndDie(t *testing.T, dir string, first int, synced, purged map[int]bool) (next int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s=%d", crashFirst, first))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	next = first
	lines, last := 0, 1+rand.IntN(25)
	for in := bufio.NewScanner(out); in.Scan(); {
		var done string
		var n int
		if _, err := fmt.Sscan(in.Text(), &done, &n); err != nil {
			t.Fatalf("the writer said %q", in.Text())
		}
		switch done {
		case "sync":
			for ; next < n; next++ {
				synced[next] = true
			}
		case "purging":
			for i := n / 4 * 4; i < n/4*4+4; i++ {
				delete(synced, i)
			}
		case "purge":
			purged[n/4] = true
		}
		if lines++; lines == 1 {
			if _, err := disktier.Open(crashConfig(dir)); !errors.Is(err, disktier.ErrLocked) {
				t.Errorf("a second process on the directory: %v", err)
			}
		}
		if lines == last {
			// Kill it while it writes: at once, or a little later.
			time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { child.Process.Kill() })
		}
	}
	child.Wait() // it was killed
	return next + 4 - next%4
}
