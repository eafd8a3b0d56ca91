// Command signing signs image URLs with package imageurl: each line of standard input is a test
// vector (vectors.tsv), and each line of standard output its path.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// image is what a URL names. A service makes one Signer at start and calls SignImage for each URL.
type image struct {
	source, name, version string
	spec                  string    // shape and format, such as 640x640-cover.webp
	expires               time.Time // zero is never
}

// signedPath returns the path of a URL. keys is "k1=HEX".
func signedPath(keys string, img image) (string, error) {
	parsed, err := imageurl.ParseKeys(keys)
	if err != nil {
		return "", err
	}
	signer, err := imageurl.NewSigner(parsed...)
	if err != nil {
		return "", err
	}
	if img.expires.IsZero() {
		return signer.SignImage(img.source, img.name, img.version, img.spec)
	}
	ref, err := imageurl.ParseImage(img.source, img.name, img.version, img.spec)
	if err != nil {
		return "", err
	}
	return signer.Sign(ref, imageurl.SignOptions{Expires: img.expires})
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Scan() // the names of the columns
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		img := image{source: f[4], name: f[5], version: f[3], spec: strings.TrimSuffix(f[2]+"."+f[6], ".")}
		if seconds, err := strconv.ParseInt(f[7], 10, 64); err != nil {
			return err
		} else if seconds > 0 {
			img.expires = time.Unix(seconds, 0)
		}
		path, err := signedPath(f[0]+"="+f[1], img)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, path)
	}
	return lines.Err()
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}
