package images

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

// pooled is a Cache whose bodies are the names of their originals, repeated, in recycled memory.
type pooled struct{}

const pooledBytes = 1 << 20 // more than a socket takes at once: others use the memory meanwhile

func (pooled) Get(_ context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	b := imagecache.NewBuffer(pooledBytes)
	fillWith(b.Bytes(), ref.Name())
	return imagecache.Image{Body: b.Bytes(), Buffer: b, ContentType: "image/webp"},
		imagecache.Outcome{Detail: imagecache.Disk, TTL: imagecache.PinnedTTL}, nil
}

func fillWith(b []byte, name string) {
	for n := 0; n < len(b); {
		n += copy(b[n:], name)
	}
}

// The memory of an answer is reused only after the answer was written, also if other clients leave
// meanwhile.
func TestHandler_Hit_KeepsMemoryWhileSending(t *testing.T) {
	address := serve(t, New(publicConfig(t, pooled{})))
	var clients sync.WaitGroup
	for client := range 8 {
		clients.Go(func() {
			for i := range 12 {
				name := fmt.Sprintf("2026/11/%d-%d.jpg", client, i)
				path := apitest.SignBytes(t, "/640x640-cover-q70/v.1/posts/"+name+".webp")
				if i%4 == 3 { // leaves within the body
					leave(t, address, path)
					continue
				}
				resp, err := http.Get("http://" + address + path)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := make([]byte, pooledBytes)
				fillWith(want, name)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v; want those of its own image", name, len(got), err)
				}
			}
		})
	}
	clients.Wait()
}

func leave(t *testing.T, address, path string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: img.example.com\r\n\r\n", path)
	_, _ = io.ReadFull(conn, make([]byte, 1000))
}
