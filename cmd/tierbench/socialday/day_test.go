package socialday

import (
	"math"
	"reflect"
	"testing"
	"time"
)

var lasts = 2 * time.Minute

func TestDay_Seed(t *testing.T) {
	one, two := New(Config{People: 200, Lasts: lasts, Seed: 7}), New(Config{People: 200, Lasts: lasts, Seed: 7})
	if !reflect.DeepEqual(one, two) {
		t.Error("two days of one seed differ")
	}
	if reflect.DeepEqual(one, New(Config{People: 200, Lasts: lasts, Seed: 8})) {
		t.Error("another seed gives the same day")
	}
}

func TestDay_ViewsFollowFanOut(t *testing.T) {
	day := New(Config{People: 600, Lasts: lasts, Seed: 1})
	asks := 0
	for _, page := range day.Pages {
		for _, ask := range page.Asks {
			asks++
			post := day.Posts[ask.Post]
			if !post.Old && (post.Seen < post.At+fanOutLeast || page.At < post.Seen) || ask.At < page.At {
				t.Fatalf("published at %v, to be seen from %v, on a page at %v, asked for at %v",
					post.At, post.Seen, page.At, ask.At)
			}
		}
	}
	if asks < 10_000 {
		t.Errorf("only %d requests", asks)
	}
}

func TestDay_Ordered(t *testing.T) {
	day := New(Config{People: 300, Lasts: lasts, Seed: 1})
	for i := 1; i < len(day.Pages); i++ {
		if day.Pages[i].At < day.Pages[i-1].At {
			t.Fatal("pages are not")
		}
	}
	for i := 1; i < len(day.Posts) && !day.Posts[i].Old; i++ {
		if day.Posts[i].At < day.Posts[i-1].At {
			t.Fatal("posts are not")
		}
	}
}

// Followers fall off with rank as Zipf's law says.
func TestPeople_ZipfFollowers(t *testing.T) {
	day := New(Config{People: 3000, Lasts: lasts, Seed: 1})
	followers := make(map[int]float64)
	for _, post := range day.Posts {
		followers[post.Author] = float64(post.Audience)
	}
	// The slope of log(followers) over log(rank + flat), by least squares.
	var n, sx, sy, sxx, sxy float64
	for rank, f := range followers {
		if f == 0 {
			continue
		}
		x, y := math.Log(float64(rank+flat)), math.Log(f)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope := (n*sxy - sx*sy) / (n*sxx - sx*sx)
	if slope > -zipf+0.15 || slope < -zipf-0.15 {
		t.Errorf("the exponent is %.2f, want %.2f", -slope, zipf)
	}
}

func TestPeople_HoursOfTheDay(t *testing.T) {
	total := 0.0
	for _, activity := range Curve {
		total += activity
	}
	if math.Abs(total/24-1) > 0.02 {
		t.Errorf("the curve's mean is %.3f", total/24)
	}
	if night, evening := Activity(4*time.Hour, 0), Activity(20*time.Hour, 1); night != Curve[4] ||
		evening != Curve[21] {
		t.Errorf("%v at four, %v at nine in the evening of another zone", night, evening)
	}
	day := New(Config{People: 2000, Lasts: lasts, Seed: 1})
	var byHour [24]float64
	for _, page := range day.Pages {
		if page.At >= 0 && page.At < lasts {
			byHour[int(24*page.At/lasts)]++
		}
	}
	// The activity of all zones together in each hour.
	var want [24]float64
	sum, wantSum := 0.0, 0.0
	for hour := range want {
		for _, zone := range zones {
			want[hour] += zone.share * Activity(time.Duration(hour)*time.Hour+30*time.Minute, zone.hours)
		}
		sum, wantSum = sum+byHour[hour], wantSum+want[hour]
	}
	for hour := range want {
		// Sessions without new posts show no page, so it is not exactly the curve.
		if got := byHour[hour] / sum * wantSum; math.Abs(got-want[hour]) > 0.35 {
			t.Errorf("hour %d: %.2f of the mean, want about %.2f", hour, got, want[hour])
		}
	}
}

func TestDay_FirstViewDelay(t *testing.T) {
	day := New(Config{People: 1500, Lasts: lasts, Seed: 1})
	s := day.Between(0, lasts)
	if s.Lead < 1200*time.Millisecond || s.Lead > 10*time.Second {
		t.Errorf("the median is %v", s.Lead)
	}
	if s.Unseen < 0.001 || s.Unseen > 0.2 {
		t.Errorf("%.1f %% of posts are never seen", 100*s.Unseen)
	}
	if s.Asked[0] < 0.8 || s.Asked[4] > 0.8*s.Asked[0] {
		t.Errorf("Specs are asked for as %v", s.Asked)
	}
}

func TestDay_NoImageTwicePerPhone(t *testing.T) {
	day := New(Config{People: 1, Lasts: lasts, Seed: 1})
	if len(day.Pages) != 0 {
		t.Error("a user who follows no author sees pages")
	}
	day = New(Config{People: 40, Lasts: lasts, Seed: 1})
	views := make(map[int]int)
	for _, page := range day.Pages {
		for _, ask := range page.Asks {
			if !ask.Avatar {
				views[ask.Post]++
			}
		}
	}
	for post, n := range views {
		if audience := day.Posts[post].Audience; n > audience {
			t.Errorf("a post with an audience of %d was requested %d times", audience, n)
		}
	}
}

func TestDay_Busiest(t *testing.T) {
	day := Day{
		Pages: []Page{
			{At: 0, Asks: make([]Ask, 2)},
			{At: 10, Asks: make([]Ask, 3)},
			{At: 12, Asks: make([]Ask, 3)},
			{At: 30, Asks: make([]Ask, 4)},
		},
	}
	if at := day.Busiest(5); at != 10 {
		t.Errorf("the busiest window begins at %d", at)
	}
}
