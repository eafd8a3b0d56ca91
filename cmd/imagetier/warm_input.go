package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
	"strings"
)

// warmItem is one line of what is to be warmed: a path, or an image whose variants a
// profile lists.
type warmItem struct {
	path    string          // from /i/ on
	image   json.RawMessage // as POST /v1/warm takes it
	profile string          // of image
}

// key is the same for two items that are the same work: the signature of a path is no part of it.
func (i warmItem) key() string {
	if i.path == "" {
		return i.profile + " " + string(i.image)
	}
	rest := strings.TrimPrefix(i.path, "/i/")
	if at := strings.IndexByte(rest, '/'); at >= 0 {
		rest = rest[at:]
	}
	return rest
}

// errNotForUs marks a line that is well and says nothing to warm: a comment, another
// request of a log, one that failed.
var errNotForUs = errors.New("nothing to warm")

// warmLine reads a line: a path or a URL, a JSON object, or a line of an access log.
func warmLine(line, profile string) (warmItem, error) {
	line = strings.TrimSpace(line)
	switch {
	case line == "" || line[0] == '#':
		return warmItem{}, errNotForUs
	case line[0] == '{':
		return warmJSON(line, profile)
	case !strings.ContainsAny(line, " \t\""):
		return warmPlain(line, profile)
	}
	return warmLog(line)
}

// warmPlain reads a line that is a path or a URL and nothing else.
func warmPlain(text, profile string) (warmItem, error) {
	if path, err := pathOf(text); err == nil {
		return warmItem{path: path}, nil
	}
	if _, _, ok := strings.Cut(text, "://"); !ok && text[0] != '/' {
		return warmItem{}, errors.New("neither a path, nor a URL, nor JSON, nor a line of an access log")
	}
	image, err := json.Marshal(map[string]string{"url": text})
	return warmItem{image: image, profile: profile}, err
}

// warmJSON reads an object: {"path"}, an Image with an optional profile, or a line of this
// program's own log.
func warmJSON(line, profile string) (warmItem, error) {
	var said struct {
		Path, URL, Source, Name, Version, Profile string
		Msg, Method                               string
		Status                                    int
		Tags                                      []string
	}
	if err := json.Unmarshal([]byte(line), &said); err != nil {
		return warmItem{}, fmt.Errorf("read JSON: %w", err)
	}
	if said.Profile != "" {
		profile = said.Profile
	}
	switch {
	case said.Msg != "":
		// The log cuts long paths; what is cut would name another image.
		if said.Msg != "request" || len(said.Path) >= 512 {
			return warmItem{}, errNotForUs
		}
		return warmRequest(said.Method, said.Path, said.Status)
	case said.Path != "":
		path, err := pathOf(said.Path)
		return warmItem{path: path}, err
	case said.URL != "" || said.Source != "" && said.Name != "":
		image, err := json.Marshal(struct {
			Source  string   `json:"source,omitempty"`
			Name    string   `json:"name,omitempty"`
			Version string   `json:"version,omitempty"`
			URL     string   `json:"url,omitempty"`
			Tags    []string `json:"tags,omitempty"`
		}{said.Source, said.Name, said.Version, said.URL, said.Tags})
		return warmItem{image: image, profile: profile}, err
	}
	return warmItem{}, errors.New(`the object has none of "path", "url", and "source" with "name"`)
}

// warmLog reads a line of an access log in which the request line stands in quotes and the
// status behind it: the common and the combined format of Apache, nginx and Varnish.
func warmLog(line string) (warmItem, error) {
	_, rest, opened := strings.Cut(line, `"`)
	request, rest, closed := strings.Cut(rest, `"`)
	fields := strings.Fields(request)
	after := strings.Fields(rest)
	if !opened || !closed || len(after) == 0 {
		return warmItem{}, errors.New("neither a path, nor a URL, nor JSON, nor a line of an access log")
	}
	status, err := strconv.Atoi(after[0])
	if err != nil || len(fields) < 2 {
		return warmItem{}, errNotForUs // a request that was none: nginx logs its first bytes
	}
	return warmRequest(fields[0], fields[1], status)
}

// warmRequest takes requests for images that were answered with one.
func warmRequest(method, target string, status int) (warmItem, error) {
	if method != "GET" || status != 200 && status != 206 && status != 304 {
		return warmItem{}, errNotForUs
	}
	path, err := pathOf(target)
	if err != nil {
		return warmItem{}, errNotForUs
	}
	return warmItem{path: path}, nil
}

// maxWarmLine bounds a line, in bytes: the longest path is some 3 KB.
const maxWarmLine = 64 << 10

// maxWarmSeen bounds what is remembered to leave repetitions out: 8 bytes an entry and
// what a map needs beside. Beyond it repetitions are asked for, which costs a look.
const maxWarmSeen = 4 << 20

// warmReader reads items from lines.
type warmReader struct {
	lines   *bufio.Scanner
	profile string
	seen    map[uint64]struct{}
	seed    maphash.Seed

	line    int64 // that was read last, from 1
	bytes   int64 // read so far
	skipped int64 // lines that say nothing to warm
	again   int64 // repetitions
	wrong   func(line int64, err error)
}

// newWarmReader reads r. wrong is told of lines that are nothing.
func newWarmReader(r io.Reader, profile string, wrong func(line int64, err error)) *warmReader {
	w := &warmReader{profile: profile, seen: make(map[uint64]struct{}), seed: maphash.MakeSeed(), wrong: wrong}
	w.lines = bufio.NewScanner(r)
	w.lines.Buffer(nil, maxWarmLine)
	return w
}

// next returns the next item that was not there before, or io.EOF. Lines up to and with done are
// read and not returned: they were done when an earlier run ended.
func (w *warmReader) next(done int64) (warmItem, error) {
	for w.lines.Scan() {
		w.line++
		w.bytes += int64(len(w.lines.Bytes())) + 1
		item, err := warmLine(w.lines.Text(), w.profile)
		switch {
		case errors.Is(err, errNotForUs):
			w.skipped++
			continue
		case err != nil:
			if w.line > done {
				w.wrong(w.line, err)
			}
			continue
		}
		sum := maphash.String(w.seed, item.key())
		if _, ok := w.seen[sum]; ok {
			w.again++
			continue
		}
		if len(w.seen) < maxWarmSeen {
			w.seen[sum] = struct{}{}
		}
		if w.line > done {
			return item, nil
		}
	}
	if err := w.lines.Err(); err != nil {
		return warmItem{}, fmt.Errorf("read line %d: %w", w.line+1, err)
	}
	return warmItem{}, io.EOF
}
