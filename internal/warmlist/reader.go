// Package warmlist reads lists of images to warm: paths, URLs, JSON and access logs.
//
// [Reader] returns one [Item] after the other, each once. [State] remembers in a file how
// far a run came, so that the next one continues there.
package warmlist

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Item is something to warm: the path of a variant, or an image whose variants a profile lists.
type Item struct {
	Path    string          // from /i/ on; "" for an image
	Image   json.RawMessage // as POST /v1/warm takes it
	Profile string          // of Image
}

// key is equal for items that are the same work. It does not contain the signature of a path.
func (i Item) key() string {
	if i.Path == "" {
		return i.Profile + " " + string(i.Image)
	}
	_, rest, _ := strings.Cut(strings.TrimPrefix(i.Path, imageurl.Prefix), "/")
	return rest
}

// Limits of a Reader.
const (
	maxLine = 64 << 10 // bytes; the longest path has some 3 KB
	maxSeen = 4 << 20  // items that are remembered to leave repetitions out; later ones are warmed again
)

// Reader reads items from lines.
type Reader struct {
	lines   *bufio.Reader
	profile string
	done    int64
	invalid func(line int64, err error)
	seen    map[uint64]struct{} // hashes of keys
	seed    maphash.Seed

	Line     int64 // number of the line read last, from 1
	Bytes    int64 // read so far
	Skipped  int64 // lines that name nothing to warm
	Repeated int64 // items that were there before
}

// Config configures a [Reader].
type Config struct {
	Profile string // of images that name none
	Done    int64  // lines up to this number were warmed before
	// Invalid is called for lines that cannot be read.
	Invalid func(line int64, err error)
}

// NewReader returns a Reader of lines.
func NewReader(lines io.Reader, cfg Config) *Reader {
	r := &Reader{
		lines: bufio.NewReaderSize(lines, maxLine), profile: cfg.Profile, done: cfg.Done, invalid: cfg.Invalid,
		seen: make(map[uint64]struct{}), seed: maphash.MakeSeed(),
	}
	return r
}

// errLong is the error of a line of more than maxLine bytes.
var errLong = fmt.Errorf("the line has more than %d bytes", maxLine)

// readLine reads one line. It skips the part beyond maxLine; then the error is errLong. The line is
// valid until the next call.
func (r *Reader) readLine() ([]byte, error) {
	line, err := r.lines.ReadSlice('\n')
	r.Bytes += int64(len(line))
	long := err == bufio.ErrBufferFull
	for err == bufio.ErrBufferFull {
		line, err = r.lines.ReadSlice('\n')
		r.Bytes += int64(len(line))
	}
	if err != nil && (err != io.EOF || len(line) == 0 && !long) {
		return nil, err
	}
	r.Line++
	if long {
		return nil, errLong
	}
	return line, nil
}

// Next returns the next item, or io.EOF.
func (r *Reader) Next() (Item, error) {
	for {
		line, err := r.readLine()
		var item Item
		switch err {
		case io.EOF:
			return Item{}, io.EOF
		case nil:
			item, err = parse(string(line), r.profile)
		case errLong:
		default:
			return Item{}, fmt.Errorf("read line %d: %w", r.Line+1, err)
		}
		switch {
		case errors.Is(err, errNothing):
			r.Skipped++
			continue
		case err != nil:
			if r.Line > r.done {
				r.invalid(r.Line, err)
			}
			continue
		}
		sum := maphash.String(r.seed, item.key())
		if _, ok := r.seen[sum]; ok {
			r.Repeated++
			continue
		}
		if len(r.seen) < maxSeen {
			r.seen[sum] = struct{}{}
		}
		if r.Line > r.done {
			return item, nil
		}
	}
}

var (
	// errNothing marks a valid line that names nothing to warm: a comment, a request for
	// something else, or one that failed.
	errNothing = errors.New("nothing to warm")
	errFormat  = errors.New("neither a path, nor a URL, nor JSON, nor a line of an access log")
)

// parse reads a line: a path or a URL, a JSON object, or a line of an access log.
func parse(line, profile string) (Item, error) {
	line = strings.TrimSpace(line)
	switch {
	case line == "" || line[0] == '#':
		return Item{}, errNothing
	case line[0] == '{':
		return parseJSON(line, profile)
	case !strings.ContainsAny(line, " \t\""):
		return parseURL(line, profile)
	case strings.Count(line, "\t") >= cloudFrontStatus:
		return parseCloudFront(line)
	}
	return parseLog(line)
}

// Fields of a standard log of CloudFront, which are separated by tabs.
const (
	cloudFrontMethod = 5
	cloudFrontPath   = 7
	cloudFrontStatus = 8
)

func parseCloudFront(line string) (Item, error) {
	fields := strings.Split(line, "\t")
	status, err := strconv.Atoi(fields[cloudFrontStatus])
	if err != nil {
		return Item{}, errFormat
	}
	return parseRequest(fields[cloudFrontMethod], fields[cloudFrontPath], status)
}

// parseURL reads a path or a URL. A URL that is not one of the tier's is for its --image-prefix.
func parseURL(text, profile string) (Item, error) {
	if item, err := pathItem(text); err == nil {
		return item, nil
	}
	if !strings.Contains(text, "://") && text[0] != '/' {
		return Item{}, errFormat
	}
	image, err := json.Marshal(map[string]string{"url": text})
	return Item{Image: image, Profile: profile}, err
}

func pathItem(text string) (Item, error) {
	path := imageurl.PathOf(text)
	if !strings.HasPrefix(path, imageurl.Prefix) {
		return Item{}, fmt.Errorf("the path of %q does not begin with %s", text, imageurl.Prefix)
	}
	return Item{Path: path}, nil
}

// parseJSON reads an object: {"path"}, an image with an optional profile, or a line of
// the tier's own access log.
func parseJSON(line, profile string) (Item, error) {
	var object struct {
		Path, URL, Source, Name, Version, Crop, Profile string
		Msg, Method                                     string
		Status                                          int
		Tags                                            []string
	}
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		return Item{}, fmt.Errorf("read JSON: %w", err)
	}
	if object.Profile != "" {
		profile = object.Profile
	}
	switch {
	case object.Msg != "":
		// The log truncates long paths to 512 bytes; a truncated one would name another image.
		if object.Msg != "request" || len(object.Path) >= 512 {
			return Item{}, errNothing
		}
		return parseRequest(object.Method, object.Path, object.Status)
	case object.Path != "":
		return pathItem(object.Path)
	case object.URL != "" || object.Source != "" && object.Name != "":
		image, err := json.Marshal(struct {
			Source  string   `json:"source,omitempty"`
			Name    string   `json:"name,omitempty"`
			Version string   `json:"version,omitempty"`
			URL     string   `json:"url,omitempty"`
			Crop    string   `json:"crop,omitempty"`
			Tags    []string `json:"tags,omitempty"`
		}{object.Source, object.Name, object.Version, object.URL, object.Crop, object.Tags})
		return Item{Image: image, Profile: profile}, err
	}
	return Item{}, errors.New(`the object has none of "path", "url", and "source" with "name"`)
}

// parseLog reads a line of an access log with the request line in quotes and the status
// after it: the common and the combined format of Apache, nginx and Varnish. An application load
// balancer (ALB) of Amazon has the status before it.
func parseLog(line string) (Item, error) {
	before, rest, opened := strings.Cut(line, `"`)
	request, rest, closed := strings.Cut(rest, `"`)
	fields := strings.Fields(request)
	after := strings.Fields(rest)
	if !opened || !closed || len(after) == 0 {
		return Item{}, errFormat
	}
	text := after[0]
	if alb := strings.Fields(before); len(alb) == albFields {
		text = alb[albStatus]
	}
	status, err := strconv.Atoi(text)
	if err != nil || len(fields) < 2 {
		return Item{}, errNothing // an invalid request, of which nginx logs the first bytes
	}
	return parseRequest(fields[0], fields[1], status)
}

// The fields of an ALB's line before the request line: type, time, balancer, client, target, three
// times, elb_status_code, target_status_code, and received and sent bytes.
const (
	albFields = 12
	albStatus = 8
)

// parseRequest accepts requests that were answered with an image.
func parseRequest(method, target string, status int) (Item, error) {
	if method != "GET" || status != 200 && status != 206 && status != 304 {
		return Item{}, errNothing
	}
	item, err := pathItem(target)
	if err != nil {
		return Item{}, errNothing
	}
	return item, nil
}
