package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

type options struct {
	config       fakeservices.Config
	addrs        map[fakeservices.Service]string // of each service's flag
	http, before string
}

// images are the endings of files that --images-dir takes.
var images = []string{".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".heic"}

// parse says on stderr what is wrong with flags that it does not understand.
func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("fakebackends", flag.ContinueOnError)
	f.SetOutput(stderr)
	addr, behaviour := map[fakeservices.Service]*string{}, map[fakeservices.Service]*fakeservices.Behaviour{}
	for _, name := range fakeservices.Services {
		how := &fakeservices.Behaviour{}
		addr[name], behaviour[name] = f.String(
			string(name),
			"127.0.0.1:0",
			"where the "+string(
				name,
			)+" service listens (unix:PATH too), or where --before finds one that is not played",
		), how
		f.DurationVar(&how.Latency, string(name)+"-latency", 0, "how long its answers take")
		f.Float64Var(
			&how.ErrorRate,
			string(name)+"-error-rate",
			0,
			"the share of its calls that fail with UNAVAILABLE, 0 to 1",
		)
		f.BoolVar(&how.Hang, string(name)+"-hang", false, "it never answers")
	}
	services := f.String("services", "feed,content,user", "which services to play")
	f.DurationVar(&o.config.ConnectLatency, "connect-latency", 0, "how long each new connection takes")
	f.StringVar(&o.http, "http", "", "where GET /connections and POST /connections/reset are answered; empty: nowhere")
	f.StringVar(
		&o.before,
		"before",
		"",
		"where POST /graphql is answered as before there was a gateway: a dial per call, one after another; empty: nowhere",
	)
	d := &o.config.Data
	f.IntVar(&d.Posts, "posts", 2000, "how many posts there are")
	f.IntVar(&d.Authors, "authors", 200, "how many users wrote them")
	f.IntVar(&d.FeedLength, "feed-length", 200, "how many posts a user's feed has")
	f.IntVar(&d.UnknownEvery, "unknown-every", 0, "every n-th post is not known to the content service; 0: none")
	empty := f.String("empty-feed", "", "users with an empty feed, comma-separated")
	f.StringVar(&d.Prefix, "images-prefix", "https://cdn.app.example/", "what URLs of images begin with")
	names := f.String("image-names", "", "names of posts' images below the prefix, comma-separated")
	avatars := f.String(
		"avatar-names",
		"",
		"names of avatars below the prefix, comma-separated; those of posts' images if there are none",
	)
	dir := f.String("images-dir", "", "a directory whose image files are the names of posts' images")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", f.Arg(0))
	}
	d.EmptyFeeds, d.Images, d.Avatars = list(*empty), list(*names), list(*avatars)
	if *dir != "" {
		found, err := imagesIn(*dir)
		if err != nil {
			return o, fmt.Errorf("--images-dir: %w", err)
		}
		d.Images = append(d.Images, found...)
	}
	o.config.Listen = map[fakeservices.Service]string{}
	o.config.Behaviour = map[fakeservices.Service]fakeservices.Behaviour{}
	o.addrs = map[fakeservices.Service]string{}
	for name, how := range behaviour {
		o.addrs[name], o.config.Behaviour[name] = *addr[name], *how
	}
	for _, name := range list(*services) {
		of := fakeservices.Service(name)
		if !slices.Contains(fakeservices.Services, of) {
			return o, fmt.Errorf("--services: there is no %q, only %v", name, fakeservices.Services)
		}
		o.config.Listen[of] = *addr[of]
	}
	if len(o.config.Listen) == 0 {
		return o, errors.New("--services: none is left")
	}
	for _, name := range fakeservices.Services {
		if _, played := o.config.Listen[name]; !played && o.before != "" && strings.HasSuffix(o.addrs[name], ":0") {
			return o, fmt.Errorf("--before: where is the %s service? --%s says", name, name)
		}
	}
	return o, nil
}

// list splits at commas, and is empty for "".
func list(s string) (items []string) {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func imagesIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && slices.Contains(images, strings.ToLower(filepath.Ext(e.Name()))) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no image in %s", dir)
	}
	return names, nil
}
