package images

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/resize"
)

// exchange is one request and its response. It stays on the stack of Respond.
type exchange struct {
	*Config
	handler *Handler
	w       *httpserver.Response
	r       *httpserver.Request
	start   time.Time
	id      string // X-Request-Id

	original imagecache.Original // set once the URL is parsed
	vary     bool                // the answer depends on Accept
	format   string              // metrics.Observation.Format

	ref      imageurl.Ref // the variant that was requested from the cache
	expires  time.Time    // end of the URL; zero: never
	priority resize.Priority
	out      imagecache.Outcome
	found    bool // the cache returned an image

	quiet  bool // neither logged nor observed
	status int  // 0 until the header is written
	bytes  int64
	err    error // nil: success
}

// Respond answers one request.
func (h *Handler) Respond(r *httpserver.Request, w *httpserver.Response) {
	x := exchange{Config: &h.cfg, handler: h, w: w, r: r, start: h.cfg.Now(), format: "none"}
	x.id = httpapi.RequestID(r.Values("X-Request-Id"))
	defer x.end()
	x.serve()
}

// serve is the read path.
func (x *exchange) serve() {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		x.refuse(problem.ErrMethod)
		return
	}
	if x.r.HasBody {
		x.refuse(problem.ErrBody)
		return
	}
	path := httpapi.PathOf(x.r.Target)
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
	if x.priority = priorityOf(x.r.Values("Priority")); x.priority != resize.PriorityLive {
		ctx = resize.WithPriority(ctx, x.priority)
	}
	img, out, err := x.Cache.Get(ctx, ref)
	x.ref, x.out, x.found = ref, out, err == nil
	if out.Forward != imagecache.Hit {
		x.Origins.Note(ref, out, err, x.start)
	}
	if err == nil && len(img.Body) == 0 {
		err = problem.ErrEmpty // some clients never retry a 200 that does not decode
	}
	if err != nil {
		x.refuse(err)
		return
	}
	x.answer(&img)
	runtime.KeepAlive(img.Hold) // until the body is sent
	if x.err == nil {
		img.Recycle() // after an error, HTTP/2 may still be writing it
	}
}

// parse reads the path and checks it against the catalog. The Ref it returns has a concrete
// format.
func (x *exchange) parse(path string) (imageurl.Ref, error) {
	ref, expires, err := x.Signer.ParseExpiring(path)
	x.expires = expires
	if err != nil {
		return ref, err
	}
	spec := ref.Spec()
	if spec.Format == resize.Auto {
		x.vary = true
		ref = ref.Resolve(negotiate(x.r.Values("Accept")))
		spec = ref.Spec()
	}
	x.format = formatLabel(spec)
	if err := x.Catalog.Check(ref); err != nil {
		return ref, err
	}
	x.original = imagecache.Original{Source: ref.Source(), Name: ref.Name()}
	return ref, nil
}

func formatLabel(spec resize.Spec) string {
	if spec.Shape == resize.ShapeOriginal {
		return "orig"
	}
	return spec.Format.String()
}

// send writes the status and body; the header is set.
func (x *exchange) send(status int, body []byte) {
	x.status = status
	var err error
	if x.bytes, err = x.w.Send(status, body, &x.Pace); err != nil {
		x.err = fmt.Errorf("%w: %w", errCut, err)
		x.status = problem.StatusClientGone
	}
}

var errCut = errors.New("client left, or was too slow, before the end of the body")

// end answers a panic, then logs and observes the request.
func (x *exchange) end() {
	if v := recover(); v != nil {
		if x.status != 0 || v == http.ErrAbortHandler {
			// Part of the response is sent: cut it, so that it does not look complete.
			x.err = fmt.Errorf("panic while answering: %v\n%s", v, debug.Stack())
			x.status = http.StatusInternalServerError
			x.report()
			panic(http.ErrAbortHandler)
		}
		x.refuse(fmt.Errorf("panic: %v\n%s", v, debug.Stack()))
	}
	x.report()
}

// healthy answers /healthz: the process is running.
func (x *exchange) healthy() {
	x.quiet = true
	x.w.SetField(healthFields)
	x.w.Set(nameRequestID, x.id)
	x.send(http.StatusOK, []byte("ok\n"))
}

var healthFields = httpserver.Join(
	httpserver.NewField("Content-Type", "text/plain; charset=utf-8"),
	httpserver.NewField("Cache-Control", "no-store"),
	httpserver.NewField("X-Content-Type-Options", "nosniff"),
)
