package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/novasocial/imagetier/gateway/rewrite"
	"github.com/novasocial/imagetier/internal/boundedcache"
)

// form is the encoding of GraphQL in a request body.
type form uint8

const (
	noQuery    form = iota
	jsonQuery       // {"query":…}, or an array of them
	plainQuery      // application/graphql: the query itself
	uploadForm      // multipart/form-data with a field operations (file uploads)
)

func queryForm(h http.Header) form {
	if h.Get("Content-Encoding") != "" {
		return noQuery
	}
	media, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case err != nil:
		return noQuery
	case media == "application/json", media == "application/graphql-request+json", media == "application/graphql+json":
		return jsonQuery
	case media == "application/graphql":
		return plainQuery
	case media == "multipart/form-data":
		return uploadForm
	}
	return noQuery
}

// operation is a request of GraphQL over HTTP.
type operation struct {
	Query      string `json:"query"`
	Extensions struct {
		PersistedQuery struct {
			Hash string `json:"sha256Hash"`
		} `json:"persistedQuery"`
	} `json:"extensions"`
}

// operationOf reads the operation in a URL: GraphQL by GET.
func operationOf(values url.Values) operation {
	o := operation{Query: values.Get("query")}
	if text := values.Get("extensions"); text != "" {
		_ = json.Unmarshal([]byte(text), &o.Extensions) // invalid JSON has no hash
	}
	return o
}

// readOperations reads the operations in a request's body, which begins with head. An invalid body
// has none: the service reports what is wrong with it.
func readOperations(f form, contentType string, head []byte) []operation {
	switch f {
	case plainQuery:
		return []operation{{Query: string(head)}}
	case uploadForm:
		_, params, err := mime.ParseMediaType(contentType)
		if err != nil {
			return nil
		}
		part, err := multipart.NewReader(bytes.NewReader(head), params["boundary"]).NextPart()
		if err != nil || part.FormName() != "operations" { // the first field, as the specification requires
			return nil
		}
		var text bytes.Buffer
		if _, err := text.ReadFrom(part); err != nil {
			return nil
		}
		head = text.Bytes()
	}
	if trimmed := bytes.TrimLeft(head, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		var batch []operation
		if json.Unmarshal(head, &batch) != nil {
			return nil
		}
		return batch
	}
	var one operation
	if json.Unmarshal(head, &one) != nil {
		return nil
	}
	return []operation{one}
}

// Bounds of an aliasCache.
const (
	maxQueries = 1024      // of each of two generations
	maxNames   = 64        // of fields of a query that is kept: 5 KB. Others are parsed every time
	maxTokens  = 50_000    // of a parsed query
	maxParsed  = 128 << 10 // bytes of one
)

// aliasCache caches the results of parsing queries, since apps send the same few queries.
type aliasCache struct {
	mu    sync.Mutex
	known boundedcache.Map[[sha256.Size]byte, parsed]
}

// parsed is the result of parsing a query.
type parsed struct {
	fields  rewrite.Fields
	aliases string // the query, as a number, if fields are not those of the schema; else ""
	queries bool   // every operation is a query, none a mutation or subscription
}

// parse maps the names in the answer to the fields of base, which are those of the schema. An
// operation that is given only by its hash is known if it was seen before.
func (c *aliasCache) parse(base rewrite.Fields, operations []operation) parsed {
	if len(operations) == 1 {
		return c.of(base, operations[0])
	}
	// The answers of a batch are one text, so a field of one operation counts for all.
	all := parsed{fields: rewrite.Fields{}, queries: true}
	for _, o := range operations {
		p := c.of(base, o)
		all.queries = all.queries && p.queries
		all.aliases += p.aliases
		for name, field := range p.fields {
			if _, ok := all.fields[name]; !ok {
				all.fields[name] = field
			}
		}
	}
	return all
}

func (c *aliasCache) of(base rewrite.Fields, o operation) parsed {
	unknown := parsed{fields: base}
	hash := sha256.Sum256([]byte(o.Query))
	if o.Query == "" && !decodeHash(&hash, o.Extensions.PersistedQuery.Hash) {
		return unknown
	}
	c.mu.Lock()
	found, ok := c.known.Get(hash)
	if ok {
		c.known.Put(hash, found)
	}
	c.mu.Unlock()
	if ok {
		return found
	}
	if o.Query == "" || len(o.Query) > maxParsed {
		return unknown
	}
	document, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: o.Query}, maxTokens)
	if err != nil {
		return unknown
	}
	found = parsed{queries: true}
	var changed bool
	if found.fields, changed = aliased(base, document); changed {
		found.aliases = hex.EncodeToString(hash[:])
	}
	for _, o := range document.Operations {
		found.queries = found.queries && o.Operation == ast.Query
	}
	if len(found.fields) <= maxNames {
		c.mu.Lock()
		c.known.Put(hash, found)
		c.mu.Unlock()
	}
	return found
}

// aliased returns the names in the answer to a document: those of base and their aliases, without
// names that are only aliases of other fields; changed reports whether they differ from base. If an
// alias names several fields of base, the first one in the document counts.
func aliased(base rewrite.Fields, document *ast.QueryDocument) (_ rewrite.Fields, changed bool) {
	found := rewrite.Fields{}      // aliases of fields of base
	taken := map[string]bool{}     // names of base that are aliases of other fields
	unaliased := map[string]bool{} // names of base that are requested without an alias
	var walk func(ast.SelectionSet)
	walk = func(set ast.SelectionSet) {
		for _, selection := range set {
			switch s := selection.(type) {
			case *ast.Field:
				field := base[s.Name]
				switch {
				case field != nil && s.Alias == s.Name:
					unaliased[s.Name] = true
				case field != nil && found[s.Alias] == nil:
					found[strings.Clone(s.Alias)] = field // a copy, which does not keep the query in memory
				case field == nil && base[s.Alias] != nil:
					taken[s.Alias] = true
				}
				walk(s.SelectionSet)
			case *ast.InlineFragment:
				walk(s.SelectionSet)
			}
		}
	}
	for _, o := range document.Operations {
		walk(o.SelectionSet)
	}
	for _, f := range document.Fragments {
		walk(f.SelectionSet)
	}
	if len(found) == 0 && len(taken) == 0 {
		return base, false
	}
	for name, field := range base {
		if unaliased[name] || !taken[name] && found[name] == nil {
			found[name] = field
		}
	}
	return found, true
}

// decodeHash reads the hash of a persisted query: 64 hex digits.
func decodeHash(hash *[sha256.Size]byte, text string) bool {
	if len(text) != 2*sha256.Size {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return false
		}
		if i%2 == 0 {
			c <<= 4
			hash[i/2] = c
		} else {
			hash[i/2] |= c
		}
	}
	return true
}
