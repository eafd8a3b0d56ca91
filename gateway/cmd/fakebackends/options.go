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

// images are the extensions of the files that --images-dir uses.
var images = []string{".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".heic"}

// parse reads the flags. It writes usage errors to stderr.
func parse(args []string, stderr io.Writer) (o options, err error) {
	f := flag.NewFlagSet("fakebackends", flag.ContinueOnError)
	f.SetOutput(stderr)
	addr, behaviour := map[fakeservices.Service]*string{}, map[fakeservices.Service]*fakeservices.Behaviour{}
	for _, name := range fakeservices.Services {
		how := &fakeservices.Behaviour{}
		addr[name], behaviour[name] = f.String(
			string(name),
			"127.0.0.1:0",
			"address of the "+string(name)+" service (or unix:PATH); with --before, also of one elsewhere",
		), how
		f.DurationVar(&how.Latency, string(name)+"-latency", 0, "latency of its answers")
		f.Float64Var(
			&how.ErrorRate,
			string(name)+"-error-rate",
			0,
			"share of its calls that fail with UNAVAILABLE, 0 to 1",
		)
		f.BoolVar(&how.Hang, string(name)+"-hang", false, "never answer")
	}
	services := f.String("services", "feed,content,user", "services to run")
	f.DurationVar(&o.config.ConnectLatency, "connect-latency", 0, "latency of each new connection")
	f.StringVar(&o.http, "http", "", "address that answers GET /connections and POST /connections/reset; none if empty")
	f.StringVar(
		&o.before,
		"before",
		"",
		"address that answers POST /graphql as before the gateway, with a connection for each call; none if empty",
	)
	d := &o.config.Data
	f.IntVar(&d.Posts, "posts", 2000, "number of posts")
	f.IntVar(&d.Authors, "authors", 200, "number of their authors")
	f.IntVar(&d.FeedLength, "feed-length", 200, "number of posts in each feed")
	f.IntVar(&d.UnknownEvery, "unknown-every", 0, "every n-th post is unknown to the content service; 0: none")
	empty := f.String("empty-feed", "", "users with an empty feed, comma-separated")
	f.StringVar(&d.Prefix, "images-prefix", "https://cdn.app.example/", "prefix of image URLs")
	names := f.String("image-names", "", "names of post images below the prefix, comma-separated")
	avatars := f.String(
		"avatar-names",
		"",
		"names of avatars below the prefix, comma-separated; those of post images if empty",
	)
	dir := f.String("images-dir", "", "directory whose image files name the post images")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
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
			return o, fmt.Errorf("--services: unknown service %q; the services are %v", name, fakeservices.Services)
		}
		o.config.Listen[of] = *addr[of]
	}
	if len(o.config.Listen) == 0 {
		return o, errors.New("--services: name at least one service")
	}
	for _, name := range fakeservices.Services {
		if _, played := o.config.Listen[name]; !played && o.before != "" && strings.HasSuffix(o.addrs[name], ":0") {
			return o, fmt.Errorf("--before needs the address of the %s service: set --%s", name, name)
		}
	}
	return o, nil
}

// list splits at commas and drops empty items.
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
