package rewrite_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

// edit replaces body[from:to] by text.
type edit struct {
	from, to int
	text     string
}

// oracle returns the expected result of a Rewriter, computed from the tokens of encoding/json. ok
// is false if the input is not JSON.
func oracle(body []byte, fields rewrite.Fields, link rewrite.Link) (want []byte, ok bool) {
	o := &tokens{body: body, decoder: json.NewDecoder(bytes.NewReader(body)), fields: fields, link: link}
	o.decoder.UseNumber()
	for {
		err := o.value(nil, nil)
		if err == io.EOF && o.depth == 0 {
			break
		}
		if err != nil {
			return nil, false
		}
	}
	at := 0
	for _, e := range o.edits {
		want = append(append(want, body[at:e.from]...), e.text...)
		at = e.to
	}
	return append(want, body[at:]...), true
}

type tokens struct {
	body    []byte
	decoder *json.Decoder
	fields  rewrite.Fields
	link    rewrite.Link
	edits   []edit
	depth   int
}

// next returns a token and its position.
func (o *tokens) next() (token json.Token, from, to int, err error) {
	before := int(o.decoder.InputOffset())
	token, err = o.decoder.Token()
	to = int(o.decoder.InputOffset())
	switch token {
	case json.Delim('{'), json.Delim('['):
		o.depth++
	case json.Delim('}'), json.Delim(']'):
		o.depth--
	}
	for from = before; from < to && strings.IndexByte(" \t\r\n:,", o.body[from]) >= 0; from++ {
	}
	return token, from, to, err
}

// value reads a value. source is the last Source of the object it is a member of; nil in arrays.
func (o *tokens) value(field *rewrite.Field, source *string) error {
	token, from, to, err := o.next()
	if err != nil {
		return err
	}
	text, isText := token.(string)
	switch {
	case token == json.Delim('{'):
		var inside string
		for o.decoder.More() {
			name, from, to, err := o.next()
			if err != nil {
				return err
			}
			var field *rewrite.Field
			if exact(o.body[from:to]) {
				field = o.fields[name.(string)]
			}
			if err := o.value(field, &inside); err != nil {
				return err
			}
		}
		_, _, _, err := o.next()
		return err
	case token == json.Delim('['):
		for o.decoder.More() {
			if err := o.value(field, nil); err != nil {
				return err
			}
		}
		_, _, _, err := o.next()
		return err
	case field == nil || !isText && token != nil:
		return nil
	}
	url := text
	if field.Source && source != nil {
		*source = text
		if !exact(o.body[from:to]) || to-from-2 > rewrite.MaxValue {
			*source = ""
		}
	}
	if text == "" {
		if !field.Fill || source == nil || *source == "" {
			return nil
		}
		url = *source
	} else if !exact(o.body[from:to]) || to-from-2 > rewrite.MaxValue {
		return nil
	}
	if replacement, ok := o.link(field, url); ok {
		quoted, _ := json.Marshal(replacement)
		o.edits = append(o.edits, edit{from, to, string(quoted)})
	}
	return nil
}

// exact reports whether the raw string is valid Unicode, so that decoding loses nothing.
func exact(spelled []byte) bool {
	if !utf8.Valid(spelled) {
		return false
	}
	for i := 0; i < len(spelled); i++ {
		if spelled[i] != '\\' {
			continue
		}
		i++
		if spelled[i] != 'u' {
			continue
		}
		first, _ := strconv.ParseUint(string(spelled[i+1:i+5]), 16, 16)
		switch {
		case first >= 0xdc00 && first < 0xe000:
			return false
		case first >= 0xd800 && first < 0xdc00:
			if i+10 >= len(spelled) || spelled[i+5] != '\\' || spelled[i+6] != 'u' {
				return false
			}
			second, _ := strconv.ParseUint(string(spelled[i+7:i+11]), 16, 16)
			if second < 0xdc00 || second >= 0xe000 {
				return false
			}
			i += 6
		}
		i += 4
	}
	return true
}
