package graph

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/gateway/budget"
	"github.com/novasocial/imagetier/gateway/imagelink"
)

// Media types of answers, as in the GraphQL over HTTP specification.
const (
	plainJSON    = "application/json"                  // status 200 for every GraphQL answer
	graphQLReply = "application/graphql-response+json" // status 400 if the request was not executed
)

// request is the JSON of a GraphQL request.
type request struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
	Extensions    struct {
		PersistedQuery json.RawMessage `json:"persistedQuery"`
	} `json:"extensions"`
}

// refusal is the answer to a request that is not executed.
type refusal struct {
	status int
	*fault
}

func refuse(status int, code Code, text string) *refusal {
	return &refusal{status, newFault(code, text)}
}

// buffers are the reused buffers of answers.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooled = 128 << 10 // capacity in bytes of a buffer that is reused

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	header := w.Header()
	header.Set("Cache-Control", "private, no-store")
	header.Set("Vary", "Accept, Authorization, "+imagelink.Vary)
	header.Set("X-Content-Type-Options", "nosniff")
	kind, refused := accepted(r.Header)
	header.Set("Content-Type", kind+"; charset=utf-8")
	var asked request
	var who caller
	if refused == nil {
		asked, refused = h.readRequest(w, r)
	}
	if refused == nil {
		who, refused = h.caller(r)
	}
	o := Observation{Operation: Nothing}
	if refused != nil {
		o.Status, o.Codes = refused.status, []Code{refused.Extensions.Code}
		h.refuse(w, refused)
	} else {
		o = h.answer(w, r, kind, who, asked)
	}
	o.Duration = time.Since(started)
	h.cfg.Observe(o)
}

// accepted returns the media type of the answer, application/json if the client has no preference.
func accepted(h http.Header) (kind string, refused *refusal) {
	lines := h.Values("Accept")
	if len(lines) == 0 || len(lines) == 1 && lines[0] == "*/*" {
		return plainJSON, nil
	}
	q := map[string]float64{}
	named := map[string]bool{}
	for item := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		of, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		weight := 1.0
		if text, ok := params["q"]; ok {
			if weight, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		for _, kind := range []string{plainJSON, graphQLReply} {
			switch {
			case of == kind:
				q[kind], named[kind] = weight, true
			case (of == "*/*" || of == "application/*") && !named[kind]:
				q[kind] = max(q[kind], weight)
			}
		}
	}
	switch {
	case q[plainJSON] <= 0 && q[graphQLReply] <= 0:
		return plainJSON, refuse(
			http.StatusNotAcceptable,
			BadRequest,
			"Accept must allow application/json or application/graphql-response+json.",
		)
	case q[graphQLReply] > q[plainJSON], q[graphQLReply] == q[plainJSON] && named[graphQLReply]:
		return graphQLReply, nil
	}
	return plainJSON, nil
}

// readRequest reads and parses the body.
func (h *Handler) readRequest(w http.ResponseWriter, r *http.Request) (asked request, refused *refusal) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return asked, refuse(http.StatusMethodNotAllowed, BadRequest, "Send queries by POST.")
	}
	if contentType := r.Header.Get("Content-Type"); contentType != plainJSON {
		kind, params, err := mime.ParseMediaType(contentType)
		if err != nil || kind != plainJSON ||
			params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
			return asked, refuse(http.StatusUnsupportedMediaType, BadRequest, "Send queries as application/json.")
		}
	}
	if r.Header.Get("Content-Encoding") != "" {
		return asked, refuse(http.StatusUnsupportedMediaType, BadRequest, "Send queries without Content-Encoding.")
	}
	if r.ContentLength > maxBody {
		return asked, tooLarge()
	}
	body, release, err := h.bodies.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	defer release()
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return asked, tooLarge()
	case errors.Is(err, budget.ErrFull):
		return asked, refuse(http.StatusServiceUnavailable, Overloaded,
			"Too many requests are being read. Try again later.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return asked, refuse(http.StatusRequestTimeout, BadRequest, "The request body arrived too slowly.")
	case err != nil:
		return asked, refuse(http.StatusBadRequest, BadRequest, "The request body is incomplete.")
	}
	if text := strings.TrimLeft(string(body[:min(len(body), 16)]), " \t\r\n"); strings.HasPrefix(text, "[") {
		return asked, refuse(
			http.StatusBadRequest,
			BadRequest,
			"Batches are not supported: send one query per request.",
		)
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return asked, refuse(
			http.StatusBadRequest,
			BadRequest,
			`The body is not JSON like {"query": "{ feed { cursor } }", "variables": {}}.`,
		)
	}
	if asked.Query == "" {
		if len(asked.Extensions.PersistedQuery) > 0 {
			return asked, refuse(
				http.StatusOK,
				NoPersisted,
				"PersistedQueryNotSupported",
			) // the text that Apollo's clients expect
		}
		return asked, refuse(http.StatusBadRequest, BadRequest, "The body has no query.")
	}
	return asked, nil
}

func tooLarge() *refusal {
	return refuse(
		http.StatusRequestEntityTooLarge,
		BadInput,
		"A request may have at most "+strconv.Itoa(maxBody)+" bytes.",
	)
}

// caller identifies the caller. An invalid token is refused, and never treated as anonymous.
func (h *Handler) caller(r *http.Request) (caller, *refusal) {
	user, err := h.cfg.User(r)
	switch {
	case errors.Is(err, ErrAuth):
		return caller{}, refuse(
			http.StatusServiceUnavailable,
			AuthDown,
			"Tokens cannot be verified now. Try again later.",
		)
	case err != nil:
		return caller{}, refuse(http.StatusUnauthorized, Unauthenticated, "The token is invalid or expired.")
	}
	return caller{user: user, client: imagelink.ClientOf(r.Header), key: r.Header.Get("Idempotency-Key")}, nil
}

func (h *Handler) refuse(w http.ResponseWriter, refused *refusal) {
	switch refused.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	write(w, refused.status, []*fault{refused.fault}, nil)
}

// answer executes a request and writes the answer.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, kind string, who caller, asked request) Observation {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	buffer := buffers.Get().(*[]byte)
	memory := room{memory: h.memory, max: h.cfg.MaxAnswerBytes}
	defer func() { h.memory.Give(memory.held) }()
	got := h.execute(ctx, who, asked, memory.buffer(*buffer), &memory)
	o := Observation{Operation: got.operation, Status: http.StatusOK, Stale: got.stale}
	for _, f := range got.faults {
		o.Codes = append(o.Codes, f.Extensions.Code)
	}
	data := got.data
	if !got.executed {
		data = nil
		if kind == graphQLReply {
			o.Status = http.StatusBadRequest
		}
		switch {
		case slices.Contains(o.Codes, Internal):
			o.Status = http.StatusInternalServerError
		case slices.Contains(o.Codes, Overloaded):
			o.Status = http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "1")
		}
	}
	write(w, o.Status, got.faults, data)
	if cap(got.data) <= maxPooled {
		*buffer = got.data
		buffers.Put(buffer)
	}
	return o
}

// write writes an answer, errors first, as the specification recommends.
func write(w http.ResponseWriter, status int, faults []*fault, data []byte) {
	before, after := "{", "}"
	if len(faults) > 0 {
		text, err := json.Marshal(faults)
		if err != nil {
			text = []byte(`[{"message":"` + internalMessage + `"}]`)
		}
		before += `"errors":` + string(text)
		if data != nil {
			before += ","
		}
	}
	if data != nil {
		before += `"data":`
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(before)+len(data)+len(after)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, before)
	_, _ = w.Write(data)
	_, _ = io.WriteString(w, after)
}
