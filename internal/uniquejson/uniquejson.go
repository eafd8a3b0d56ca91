// Package uniquejson finds names that occur twice in a JSON object. Package encoding/json takes the last of them, so a
// request that repeats a name would do half of what its sender meant.
package uniquejson

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Check returns an error if an object in text, which is valid JSON, has a name twice.
func Check(text []byte) error {
	return check(json.NewDecoder(bytes.NewReader(text)))
}

// check reads one value. The decoder of encoding/json, which text has passed, allows a depth of 10,000.
func check(dec *json.Decoder) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	delim, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	var names map[string]bool
	for dec.More() {
		if delim == '{' {
			token, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			switch {
			case names[name]:
				return fmt.Errorf("the name %.64q occurs twice in an object", name)
			case names == nil:
				names = make(map[string]bool)
			}
			names[name] = true
		}
		if err := check(dec); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
