package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/internal/webhook"
)

// feedCmd replays a day of a social feed.
type feedCmd struct {
	Day     time.Duration `default:"3m" help:"Length of the day, approximately."`
	Seed    uint64        `default:"1" help:"Seed of the day."`
	Seeds   string        `help:"Replay a day of each of these seeds and print mean and worst instead of pairs." placeholder:"FROM-TO"`
	Load    float64       `default:"0.5" help:"Load of the busiest part of the day, as a share of the measured capacity."`
	Pairs   int           `default:"5" help:"Pairs of runs with and without warming."`
	Part    time.Duration `default:"8s" help:"Length of a paired run: the busiest part of the day of that length."`
	Probe   time.Duration `default:"8s" help:"Time to measure the capacity, once or twice."`
	Latency time.Duration `default:"30ms" help:"Time to the first byte of the origin; the default is that of S3 within its region."`
	Photos  []string      `default:"../../../shared/photos,../../deploy/photos" help:"Directories of originals: the first that has 12-megapixel JPEGs." type:"path"`
	Program string        `default:"../../bin/imagetier" help:"The tier to start." type:"path"`
	Flags   []string      `help:"More flags for the tiers that are started." placeholder:"FLAG"`

	Tier    string        `help:"Public URL of a running tier to use instead of starting one. It needs --private and --rate, and the source posts=http://ADDRESS of --listen." placeholder:"URL"`
	Private string        `help:"Private URL of that tier." placeholder:"URL"`
	Keys    string        `help:"Its keys; the first signs." placeholder:"ID=HEX" env:"IMAGETIER_KEYS"`
	Secret  string        `help:"Its webhook secret." placeholder:"whsec_..." env:"IMAGETIER_WEBHOOK_SECRETS"`
	Rate    float64       `help:"Requests per second in the busiest part of the day, instead of --load."`
	Watch   time.Duration `help:"The --wasted-after of that tier: how long to wait for its results."`
	Listen  string        `default:"127.0.0.1:0" help:"Address of the origin of the replay."`
}

// Help implements kong.HelpProvider.
func (feedCmd) Help() string {
	return `Compresses a day of a synthetic social network (package socialday) into minutes and replays it against
a tier: the feed service sends signed events for posts and pages, and phones request images. Everything runs on this
machine, so client and origin share its cores.

A page of the real gateway comes first, on a stack of its own: some posts are published, a phone requests a
page over GraphQL, and when the tier has made what the gateway's feed.page event names, the phone requests each image.
The command fails if the event does not name the images of the answer in their order. With --tier this is left out.

Then the capacity is measured: 16 clients request the busiest part of the day as fast as they can, without warming.
A network is generated whose busiest part takes a share (--load) of that, and its day is replayed with --warm adaptive.
The tier has learned from the day of another network of that size (seed --seed + 1000). Then the busiest part is
replayed in pairs, with warming and without; the results are medians. Each run but the day before starts a new tier on
a copy of the same cache, which has the avatars, the older posts, and what was learned on the day before. The event of a
page has the paths that its phone requests, as the gateway sends them.

With --seeds 21-30, the days of ten networks are replayed instead: a first day with nothing learned, the day after, and
the first day without warming. The mean and the worst of each figure are printed. A seed takes four times --day.`
}

// Run runs the benchmark and prints the results.
func (c *feedCmd) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	photos, from, err := readPhotos(c.Photos...)
	if err != nil {
		return err
	}
	avatar, err := avatarOf(photos[0])
	if err != nil {
		return err
	}
	origin, err := openStub(c.Listen, photos, avatar, c.Latency)
	if err != nil {
		return err
	}
	defer origin.close()
	fmt.Printf("origin: %s, %v to the first byte\n", from, c.Latency)
	if c.Tier != "" {
		return c.playAgainst(ctx)
	}
	work, err := os.MkdirTemp("", "tierbench-feed-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	b := &feedBench{feedCmd: c, origin: origin, work: work}
	if b.names, err = newNaming("", feedKeys); err != nil {
		return err
	}
	return b.run(ctx)
}

// dayAt returns a day whose busiest part has about rate requests per second, and that part. It fits
// the number of people first and then the length of the day.
func (c *feedCmd) dayAt(rate float64) (socialday.Config, window) {
	cfg := socialday.Config{People: 500, Lasts: c.Day, Seed: c.Seed}
	for try := 0; ; try++ {
		day := socialday.New(cfg)
		begin := day.Busiest(c.Part)
		w := window{&day, begin, begin + c.Part}
		off := rate / (float64(len(w.asks())) / c.Part.Seconds())
		switch {
		case math.Abs(off-1) < 0.02 || try == 12:
			return cfg, w
		case try < 6:
			cfg.People = min(max(int(float64(cfg.People)*math.Pow(off, 0.75)), fewest), most)
		default:
			// On a very slow machine the day exceeds the rate rather than becoming endless.
			cfg.Lasts = min(time.Duration(float64(cfg.Lasts)/math.Pow(off, 0.8)), 2*c.Day)
		}
	}
}

// Bounds of the number of people of a fitted network.
const fewest, most = 60, 20_000

// sixHours returns six hours of a day that is compressed to lasts, plus the time to the first view,
// which is not compressed. It is the --wasted-after of the tier.
func sixHours(lasts time.Duration) time.Duration { return (lasts/4 + 5*time.Second).Round(time.Second) }

// playAgainst replays the day against a running tier.
func (c *feedCmd) playAgainst(ctx context.Context) error {
	if c.Private == "" || c.Rate == 0 || c.Keys == "" || c.Secret == "" {
		return errors.New("--tier needs --private, --rate, --keys and --secret")
	}
	names, err := newNaming("r"+strconv.FormatInt(time.Now().Unix(), 36)+"-", c.Keys)
	if err != nil {
		return err
	}
	cfg, part := c.dayAt(c.Rate)
	w := window{part.day, 0, cfg.Lasts}
	describe(cfg, w, c.Rate)
	p := newPlayer(c.Tier, names)
	defer p.close()
	if err := p.fill(ctx, w); err != nil {
		return err
	}
	ran, err := c.playDay(ctx, p, c.Private, c.Secret, w, c.Watch)
	if err != nil {
		return err
	}
	fmt.Print(dayTable("a day with warming", ran))
	return nil
}

// fill requests everything that the tier should have cached before a window begins.
func (p *player) fill(ctx context.Context, w window) error {
	paths, err := p.names.before(w)
	if err == nil {
		_, _, err = p.rush(ctx, paths, 4, 10*time.Minute)
	}
	if err != nil {
		return fmt.Errorf("request older posts: %w", err)
	}
	return nil
}

// dayRun has the results of a replayed day.
type dayRun struct {
	tally
	outcome
	warmed warmed
}

// playDay replays a day with events, and waits until all the watches of the tier have ended.
func (c *feedCmd) playDay(
	ctx context.Context,
	p *player,
	private, secret string,
	w window,
	watch time.Duration,
) (ran dayRun, err error) {
	before, err := stack.Scrape(ctx, private)
	if err != nil {
		return ran, err
	}
	signer, err := webhook.NewSigner(secret)
	if err != nil {
		return ran, err
	}
	p.service = &feedService{client: p.client, url: private, signer: signer, names: p.names, now: time.Now}
	if ran.outcome, err = p.play(ctx, w); err != nil {
		return ran, err
	}
	if err := pause(ctx, watch+time.Second); err != nil {
		return ran, err
	}
	after, err := stack.Scrape(ctx, private)
	if err != nil {
		return ran, err
	}
	ran.tally, ran.warmed = tallyOf(w, ran.answers), warmedOf(after).minus(warmedOf(before))
	return ran, nil
}

// feedBench starts tiers and replays days against them.
type feedBench struct {
	*feedCmd
	names  naming
	origin *stub
	work   string
	n      int // number of started tiers
}

// inherited has the directories of earlier tiers whose data a new tier starts with; "" starts it
// empty.
type inherited struct {
	cache  string // its cached images
	learnt string // its warming statistics
}

// tier starts a tier and returns it with its directory.
func (b *feedBench) tier(
	ctx context.Context,
	with inherited,
	warm string,
	watch time.Duration,
) (*tierProcess, string, error) {
	b.n++
	dir := filepath.Join(b.work, strconv.Itoa(b.n))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, "", err
	}
	if with.cache != "" {
		if err := copyCache(with.cache, dir); err != nil {
			return nil, "", err
		}
	}
	if with.learnt != "" {
		if err := copyLearnt(with.learnt, dir); err != nil {
			return nil, "", err
		}
	}
	x, err := startTier(
		ctx,
		tierConfig{program: b.Program, dir: dir, origin: b.origin.url, warm: warm, watch: watch, more: b.Flags},
	)
	return x, dir, err
}

// prepare returns the directory of a cache as an earlier tier would have left it.
func (b *feedBench) prepare(ctx context.Context, w window) (dir string, err error) {
	x, dir, err := b.tier(ctx, inherited{}, "none", time.Hour)
	if err != nil {
		return "", err
	}
	defer x.stop()
	p := newPlayer(x.public, b.names)
	defer p.close()
	return dir, p.fill(ctx, w)
}

func (b *feedBench) run(ctx context.Context) error {
	if err := b.gatewayPage(ctx); err != nil {
		return err
	}
	rate := b.Rate
	var capacity float64
	if rate == 0 {
		var err error
		if capacity, err = b.measureCapacity(ctx); err != nil {
			return err
		}
		rate = b.Load * capacity
	}
	if b.Seeds != "" {
		return b.playSeeds(ctx, rate)
	}
	cfg, part := b.dayAt(rate)
	day := window{part.day, 0, cfg.Lasts}
	describe(cfg, day, rate)
	watch := sixHours(cfg.Lasts)
	yesterday := cfg
	yesterday.Seed += 1000
	network := socialday.New(yesterday)
	ran, learnt, err := b.day(ctx, window{&network, 0, cfg.Lasts}, watch, "adaptive", "")
	if err != nil {
		return err
	}
	fmt.Print(dayTable("the first day of a tier, that of another network of that size", ran))
	if ran, _, err = b.day(ctx, day, watch, "adaptive", learnt); err != nil {
		return err
	}
	fmt.Print(dayTable("the day after", ran))
	if b.Pairs == 0 {
		return nil
	}
	pairs, err := b.pairs(ctx, part, watch, learnt)
	if err != nil {
		return err
	}
	fmt.Print(pairTable(pairs, rate, capacity))
	return nil
}

// askers is the number of clients that measure the capacity.
const askers = 16

// measureCapacity returns how many requests of the busiest part the tier answers per second. In a
// larger network a post has more views, which are cheap. So the capacity is measured again with a
// network of the size that the first measurement suggests.
func (b *feedBench) measureCapacity(ctx context.Context) (capacity float64, err error) {
	for rate := 100.0; ; rate = b.Load * capacity {
		cfg, part := b.dayAt(rate)
		before := capacity
		if capacity, err = b.capacity(ctx, part); err != nil {
			return 0, err
		}
		fmt.Printf("capacity without warming, of a network of %d people: %.0f requests a second\n",
			cfg.People, capacity)
		if before != 0 || math.Abs(b.Load*capacity/rate-1) < 0.15 {
			return capacity, nil
		}
	}
}

func (b *feedBench) capacity(ctx context.Context, part window) (float64, error) {
	part.to = part.from + 3*b.Part // usually more than is answered in that time
	cache, err := b.prepare(ctx, part)
	if err != nil {
		return 0, err
	}
	x, _, err := b.tier(ctx, inherited{cache: cache}, "none", time.Hour)
	if err != nil {
		return 0, err
	}
	defer x.stop()
	p := newPlayer(x.public, b.names)
	defer p.close()
	paths, err := b.names.paths(part)
	if err != nil {
		return 0, err
	}
	n, took, err := p.rush(ctx, paths, askers, b.Probe)
	if err != nil {
		return 0, fmt.Errorf("measure the capacity: %w", err)
	}
	return float64(n) / took.Seconds(), nil
}

// day replays a whole day against a new tier that starts with the statistics in learnt. With warm
// "none" it sends no events. It returns the directory of the tier.
func (b *feedBench) day(
	ctx context.Context,
	w window,
	watch time.Duration,
	warm, learnt string,
) (ran dayRun, dir string, err error) {
	cache, err := b.prepare(ctx, w)
	if err != nil {
		return ran, "", err
	}
	x, dir, err := b.tier(ctx, inherited{cache, learnt}, warm, watch)
	if err != nil {
		return ran, "", err
	}
	defer x.stop()
	p := newPlayer(x.public, b.names)
	defer p.close()
	if warm == "none" {
		ran.outcome, err = p.play(ctx, w)
		ran.tally = tallyOf(w, ran.answers)
		return ran, dir, err
	}
	ran, err = b.playDay(ctx, p, x.private, feedSecret, w, watch)
	return ran, dir, err
}

// pair is one run with warming and one without.
type pair struct{ with, without tally }

// pairs replays a part of the day alternately with and without warming.
func (b *feedBench) pairs(ctx context.Context, w window, watch time.Duration, learnt string) (pairs []pair, err error) {
	cache, err := b.prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	for i := range b.Pairs {
		var one pair
		for turn := range 2 {
			warm, into := "adaptive", &one.with
			if (i+turn)%2 == 0 {
				warm, into = "none", &one.without
			}
			if *into, err = b.playPart(ctx, inherited{cache, learnt}, warm, w, watch); err != nil {
				return nil, err
			}
		}
		pairs = append(pairs, one)
	}
	return pairs, nil
}

func (b *feedBench) playPart(
	ctx context.Context,
	with inherited,
	warm string,
	w window,
	watch time.Duration,
) (tally, error) {
	x, dir, err := b.tier(ctx, with, warm, watch)
	if err != nil {
		return tally{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	defer x.stop()
	p := newPlayer(x.public, b.names)
	defer p.close()
	if warm != "none" {
		signer, err := webhook.NewSigner(feedSecret)
		if err != nil {
			return tally{}, err
		}
		p.service = &feedService{client: p.client, url: x.private, signer: signer, names: p.names, now: time.Now}
	}
	out, err := p.play(ctx, w)
	return tallyOf(w, out.answers), err
}
