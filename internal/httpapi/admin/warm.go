package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/jsoncheck"
	"github.com/novasocial/imagetier/prefetch/service"
)

// Bounds of POST /v1/warm.
const (
	maxWarmBody  = 10 << 20         // bytes
	maxWarmPaths = 10_000           // paths and images of one request
	maxSettled   = 10_000           // dead letters of one POST /v1/warm/dead
	warmsAtOnce  = 4                // concurrent requests
	warmPulse    = 20 * time.Second // after this time without a line, an empty line is sent
)

var warmLists = jsoncheck.Limits{"images": maxWarmPaths, "images.tags": service.MaxTags, "paths": maxWarmPaths}

// warm answers POST /v1/warm: 202 once everything is queued or, if the client waits, 200 and a line
// of JSON for each variant when it is made or has failed.
func (p *api) warm(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Profile string                `json:"profile"`
		Images  []service.ImageFields `json:"images"`
		Paths   []string              `json:"paths"`
		Wait    bool                  `json:"wait"`
	}
	if r.ContentLength > maxWarmBody {
		return problem.Errorf(problem.ErrBodyLarge, "The body has more than %d bytes.", maxWarmBody)
	}
	leave, err := p.warms.enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := readJSONUpTo(w, r, &req, maxWarmBody, warmLists); err != nil {
		return err
	}
	asked := len(req.Images) + len(req.Paths)
	switch {
	case asked == 0:
		return problem.Errorf(problem.ErrRequest, `{"profile","images":[…]} or {"paths":[…]} is needed.`)
	case asked > maxWarmPaths:
		return problem.Errorf(problem.ErrBodyLarge, "There are %d paths and images; the limit is %d.",
			asked, maxWarmPaths)
	case len(req.Images) > 0 && req.Profile == "":
		return problem.Errorf(problem.ErrRequest, "profile: required with images.")
	}
	request := service.WarmRequest{Profile: req.Profile, Images: req.Images}
	for i, path := range req.Paths {
		refs, err := p.warmable(path)
		if err != nil && !req.Wait {
			return problem.Errorf(problem.ErrRequest, "paths[%d]: %v", i, err)
		}
		if err != nil {
			request.Wrong = append(request.Wrong, service.WarmResult{Name: path, Err: err})
		}
		request.Refs = append(request.Refs, refs...)
	}
	if req.Wait {
		return p.warmNow(w, r, request)
	}
	label, refusal := outcomeOf(p.Operator.Queue(r.Context(), request))
	p.count("warm", label)
	if refusal != nil {
		return refusal
	}
	return accepted(w, r, asked)
}

// warmable returns the variants of a path, for auto those of all classes of clients. The signature
// is not checked.
func (p *api) warmable(path string) ([]imageurl.Ref, error) {
	_, ref, err := p.readPath(path)
	if err == nil {
		err = p.Catalog.Check(ref)
	}
	if err != nil {
		return nil, err
	}
	return classesOf(ref), nil
}

// warmNow streams the outcome of each variant and each invalid path.
func (p *api) warmNow(w http.ResponseWriter, r *http.Request, request service.WarmRequest) error {
	s := &warmStream{w: w, control: http.NewResponseController(w), path: p.Signer.Path}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s.broken = cancel
	pulse := time.NewTicker(warmPulse)
	defer pulse.Stop()
	ended := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		for {
			select {
			case <-pulse.C:
				s.beat()
			case <-ended:
				return
			}
		}
	})
	err := p.Operator.Now(ctx, request, s.report)
	close(ended)
	beating.Wait()
	if s.began {
		if err != nil || ctx.Err() != nil {
			panic(http.ErrAbortHandler) // cuts the response, so that it does not look complete
		}
		return nil
	}
	if _, refusal := outcomeOf(err); refusal != nil {
		return refusal
	}
	s.begin()
	return nil
}

// warmStream writes lines as they are produced.
type warmStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	path    func(imageurl.Ref) string
	broken  func() // called when the client has stopped reading

	mu    sync.Mutex
	began bool // guarded by mu while Now runs
}

// warmLine is one line of the response.
type warmLine struct {
	Path    string     `json:"path"`
	Outcome string     `json:"outcome"` // hit, made, failed
	Error   *warmFault `json:"error,omitempty"`
}

type warmFault struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
}

func (s *warmStream) report(one service.WarmResult) {
	line := warmLine{Path: one.Name, Outcome: "made"}
	if one.Ref != (imageurl.Ref{}) {
		line.Path = s.path(one.Ref)
	}
	switch {
	case one.Err != nil:
		status := problem.Of(one.Err).Status
		line.Outcome, line.Error = "failed", &warmFault{status, http.StatusText(status)}
	case one.Hit:
		line.Outcome = "hit"
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err) // strings and numbers can always be marshalled
	}
	s.write(append(text, '\n'))
}

func (s *warmStream) beat() { s.write([]byte("\n")) }

func (s *warmStream) begin() {
	if !s.began {
		s.began = true
		s.w.Header()["Content-Type"] = []string{"application/x-ndjson"}
		s.w.WriteHeader(http.StatusOK)
	}
}

func (s *warmStream) write(line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
	_, err := s.w.Write(line)
	if err = errors.Join(err, s.control.Flush()); err != nil {
		s.broken()
	}
}

// dead lists dead letters.
func (p *api) dead(w http.ResponseWriter, r *http.Request) error {
	from := uint64(0)
	if text := r.URL.Query().Get("from"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return problem.Errorf(problem.ErrRequest, "from: want a whole number.")
		}
		from = n
	}
	letters, next, err := p.Operator.DeadLetters(r.Context(), from)
	if _, refusal := outcomeOf(err); refusal != nil {
		return refusal
	}
	for i := range letters {
		if !json.Valid(letters[i].Job) {
			letters[i].Job = nil
		}
		letters[i].Reason = string(bytes.ToValidUTF8([]byte(letters[i].Reason), []byte("?")))
	}
	return writeJSON(w, r, http.StatusOK, struct {
		Dead []service.DeadLetter `json:"dead"`
		Next uint64               `json:"next,omitempty"`
	}{append([]service.DeadLetter{}, letters...), next})
}

// settle queues dead letters again or discards them.
func (p *api) settle(w http.ResponseWriter, r *http.Request) error {
	var req struct {
		Do  string   `json:"do"`
		IDs []uint64 `json:"ids"`
	}
	if err := readJSONUpTo(w, r, &req, maxEventBody, jsoncheck.Limits{"ids": maxSettled}); err != nil {
		return err
	}
	settle := p.Operator.Retry
	switch req.Do {
	case "retry":
	case "discard":
		settle = p.Operator.Discard
	default:
		return problem.Errorf(problem.ErrRequest, `do: want "retry" or "discard".`)
	}
	n, err := settle(r.Context(), req.IDs)
	if _, refusal := outcomeOf(err); refusal != nil {
		return refusal
	}
	p.Log.Info("dead letters retried or discarded", "do", req.Do, "letters", n, "remote", r.RemoteAddr)
	return writeJSON(w, r, http.StatusOK, struct {
		Settled int `json:"settled"`
	}{n})
}
