// Command packaging writes the gateway's image as an OCI layout, without a container engine:
//
//	go run . DIR VERSION amd64=PROGRAM arm64=PROGRAM
//
// The image has the program and the certificate authorities of this machine, and runs as user 10001. The
// tier's image is made by the Dockerfile: its resize process needs libvips and what that links.
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: packaging DIR VERSION ARCH=PROGRAM...")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

// authorities is where Debian and Go look for certificate authorities.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// write writes an index with an image for each architecture.
func write(dir, version string, programs []string) error {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	made := time.Unix(seconds, 0).UTC()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, item := range programs {
		arch, program, _ := strings.Cut(item, "=")
		image, err := imageOf(program, version, arch, made)
		if err != nil {
			return fmt.Errorf("image for %s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	_, err = layout.Write(dir, index)
	return err
}

// imageOf returns the image of one program.
func imageOf(program, version, arch string, made time.Time) (v1.Image, error) {
	content, err := files(made, map[string]string{
		"usr/bin/imagetier-gateway": program, strings.TrimPrefix(authorities, "/"): authorities,
	})
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		tarball.WithMediaType(types.OCILayer),
	)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, configOf(image, version, arch, made))
}

func configOf(image v1.Image, version, arch string, made time.Time) *v1.ConfigFile {
	config, err := image.ConfigFile()
	if err != nil {
		panic(err) // it was made in memory
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: made}
	config.Config = v1.Config{
		User:         "10001",
		Entrypoint:   []string{"/usr/bin/imagetier-gateway"},
		Cmd:          []string{"serve"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "imagetier-gateway",
			"org.opencontainers.image.version":  version,
			"org.opencontainers.image.source":   "https://github.com/novasocial/imagetier",
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return config
}

// files returns a tar of files by their path in it; their directories are implied.
func files(made time.Time, paths map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, to := range []string{"etc/ssl/certs/ca-certificates.crt", "usr/bin/imagetier-gateway"} {
		content, err := os.ReadFile(paths[to])
		if err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if strings.HasPrefix(to, "usr/bin/") {
			mode = 0o755
		}
		header := &tar.Header{Name: to, Mode: mode, Size: int64(len(content)), ModTime: made}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
