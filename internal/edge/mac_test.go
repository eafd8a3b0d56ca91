package edge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// macOf signs as CONTRACT 1 says, without the package that is tested elsewhere.
func macOf(signed string) string {
	mac := hmac.New(sha256.New, testKey.Secret)
	mac.Write([]byte(signed))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
