package edge

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// exchange is one request on its way to its answer. It lives on the stack of ServeHTTP.
type exchange struct {
	*public
	w     http.ResponseWriter
	r     *http.Request
	start time.Time
	id    string // X-Request-Id

	of     imagecache.Original // what the URL names, once that is known
	vary   bool                // the answer depends on Accept
	format string              // Observation.Format
	out    imagecache.Outcome

	quiet  bool // neither logged nor observed
	status int  // 0 until the header is written
	bytes  int64
	err    error // why it is no success; nil is one
}

// ServeHTTP answers one request.
func (p *public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{public: p, w: w, r: r, start: p.Now(), id: requestID(r), format: "none"}
	defer x.end()
	x.serve()
}

// serve is the read path: parse, look, answer.
func (x *exchange) serve() {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.refuse(errMethod)
		return
	}
	path := rawPath(x.r)
	if path == "/healthz" {
		x.healthy()
		return
	}
	ref, err := x.parse(path)
	if err != nil {
		x.refuse(err)
		return
	}
	ctx := x.r.Context()
	if leastUrgent(x.r.Header["Priority"]) {
		ctx = resize.WithPriority(ctx, resize.PriorityWarm)
	}
	img, out, err := x.Cache.Get(ctx, ref)
	x.out = out
	if out.Forward != imagecache.Hit {
		x.Answers.note(ref, out, err, x.start)
	}
	if err == nil && len(img.Body) == 0 {
		err = errEmpty // clients never ask again for a 200 that does not decode
	}
	if err != nil {
		x.refuse(err)
		return
	}
	x.answer(&img)
}

// parse reads the path and has this configuration's say. The Ref that it returns is of a
// concrete format.
func (x *exchange) parse(path string) (imageurl.Ref, error) {
	ref, err := x.Signer.Parse(path)
	if err != nil {
		return ref, err
	}
	spec := ref.Spec()
	if spec.Format == resize.Auto {
		x.vary = true
		ref = ref.Resolve(negotiate(x.r.Header["Accept"]))
		spec = ref.Spec()
	}
	x.format = formatLabel(spec)
	if err := x.configured(ref); err != nil {
		return ref, err
	}
	x.of = imagecache.Original{Source: ref.Source(), Name: ref.Name()}
	return ref, nil
}

// configured returns why this configuration has nothing to do with ref.
func (cfg *Config) configured(ref imageurl.Ref) error {
	spec := ref.Spec()
	source, known := cfg.Sources[ref.Source()]
	switch {
	case !known:
		return errSource
	case spec.Watermark != "" && !cfg.Watermarks[spec.Watermark]:
		return errWatermark
	case spec.Shape == resize.ShapeOriginal && !source.Originals:
		return errOriginals
	}
	return nil
}

func formatLabel(spec resize.Spec) string {
	if spec.Shape == resize.ShapeOriginal {
		return "orig"
	}
	return spec.Format.String()
}

// rawPath returns the path of the request line as it was sent, without its query: a
// signature is over these bytes, and %2e is another spelling of a dot.
func rawPath(r *http.Request) string {
	raw := r.RequestURI
	if raw == "" { // the request was made in this process
		raw = r.URL.EscapedPath()
	}
	if raw != "" && raw[0] != '/' {
		raw = afterAuthority(raw)
	}
	if q := strings.IndexByte(raw, '?'); q >= 0 {
		raw = raw[:q]
	}
	return raw
}

// afterAuthority returns what follows the authority of an absolute-form target
// (http://host/path, RFC 9112, 3.2.2), "/" if nothing does, and any other target as it is.
func afterAuthority(target string) string {
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return target
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 || rest[end] == '?' {
		return "/"
	}
	return rest[end:]
}

// end answers what panicked, then logs and reports.
func (x *exchange) end() {
	if v := recover(); v != nil {
		if x.status != 0 || v == http.ErrAbortHandler {
			// A part is on its way: all that is left is to cut it so that nobody takes
			// it for the whole.
			x.err = fmt.Errorf("panic while answering: %v\n%s", v, debug.Stack())
			x.status = http.StatusInternalServerError
			x.report()
			panic(http.ErrAbortHandler)
		}
		x.refuse(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
	}
	x.report()
}

// healthy says that the process lives.
func (x *exchange) healthy() {
	x.quiet = true
	h := x.w.Header()
	h["Content-Type"] = textPlain
	h["Content-Length"] = okLength
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = nosniff
	h["X-Request-Id"] = []string{x.id}
	x.send(http.StatusOK, okBody, nil)
}

var (
	okBody    = []byte("ok\n")
	okLength  = []string{"3"}
	textPlain = []string{"text/plain; charset=utf-8"}
	noStore   = []string{"no-store"}
)

// What the edge itself refuses. The texts go to logs; clients read those of the table.
var (
	errMethod       = errors.New("method is neither GET nor HEAD")
	errSource       = errors.New("no such source")
	errWatermark    = errors.New("no such watermark")
	errOriginals    = errors.New("source hands out no originals")
	errPrecondition = errors.New("precondition failed")
	errRange        = errors.New("range not satisfiable")
	errEmpty        = errors.New("cache returned an image without a body")
	errCut          = errors.New("client left, or was too slow, before the end of the body")
)
