//go:build !goexperiment.jsonv2

package proxy_test

import "github.com/novasocial/imagetier/gateway/rewrite"

// byTokens needs encoding/json/jsontext: GOEXPERIMENT=jsonv2 go test -bench .
var byTokens func(dst, page []byte, fields rewrite.Fields, link rewrite.Link) []byte
