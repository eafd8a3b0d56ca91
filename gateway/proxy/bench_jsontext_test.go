//go:build goexperiment.jsonv2

package proxy_test

import (
	"bytes"
	"encoding/json/jsontext"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

// byTokens copies token by token, and replaces the strings of fields.
func byTokens(dst, page []byte, fields rewrite.Fields, link rewrite.Link) []byte {
	out := bytes.NewBuffer(dst)
	from, to := jsontext.NewDecoder(bytes.NewReader(page)), jsontext.NewEncoder(out, jsontext.PreserveRawStrings(true))
	var field *rewrite.Field
	for from.PeekKind() != jsontext.KindInvalid {
		switch kind := from.PeekKind(); kind {
		case '{', '}', '[', ']':
			token, err := from.ReadToken()
			if err != nil {
				panic(err)
			}
			if err := to.WriteToken(token); err != nil {
				panic(err)
			}
		default:
			value, err := from.ReadValue()
			if err != nil {
				panic(err)
			}
			_, at := from.StackIndex(from.StackDepth())
			name := at%2 == 1
			if kind == '"' && field != nil && !name {
				text, _ := jsontext.AppendUnquote(nil, value)
				if url, ok := link(field, string(text)); ok {
					value, _ = jsontext.AppendQuote(nil, url)
				}
			}
			field = nil
			if name && kind == '"' {
				text, _ := jsontext.AppendUnquote(nil, value)
				field = fields[string(text)]
			}
			if err := to.WriteValue(value); err != nil {
				panic(err)
			}
		}
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
