package corpus

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"strings"
)

// Programs are what the generators and decoders need (deploy/install-deps corpus installs them).
var Programs = []string{
	"cjpeg", "djpeg", "cwebp", "dwebp", "webpmux", "gif2webp", "gifsicle", "tiffcp", "tiffset",
	"convert-im6.q16",
	"avifenc", "avifdec", "heif-enc", "heif-convert", "cjxl", "djxl",
}

// run runs a program with input and returns its output.
func run(input []byte, program string, args ...string) ([]byte, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(input)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out.Bytes(), nil
}

// runTo runs a program that writes a file and returns that file.
func runTo(file, program string, args ...string) ([]byte, error) {
	if _, err := run(nil, program, args...); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// ppm returns the colours of m as PPM.
func ppm(m *image.NRGBA) []byte {
	out := fmt.Appendf(nil, "P6\n%d %d\n255\n", m.Rect.Dx(), m.Rect.Dy())
	for i := 0; i < len(m.Pix); i += 4 {
		out = append(out, m.Pix[i:i+3]...)
	}
	return out
}

// pam returns m as PAM, with alpha.
func pam(m *image.NRGBA) []byte {
	out := fmt.Appendf(nil, "P7\nWIDTH %d\nHEIGHT %d\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n",
		m.Rect.Dx(), m.Rect.Dy())
	return append(out, m.Pix...)
}

// readPPM reads 8-bit PPM or PGM.
func readPPM(b []byte) (*image.NRGBA, error) {
	var kind string
	var width, height, most int
	r := bytes.NewReader(b)
	if _, err := fmt.Fscan(r, &kind, &width, &height, &most); err != nil || most != 255 {
		return nil, fmt.Errorf("read PPM: %q %d: %w", kind, most, err)
	}
	pixels := b[len(b)-r.Len()+1:]
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		p := m.Pix[4*i:]
		p[3] = 255
		if kind == "P5" {
			p[0], p[1], p[2] = pixels[i], pixels[i], pixels[i]
		} else {
			copy(p, pixels[3*i:3*i+3])
		}
	}
	return m, nil
}

// viaPNG reads the PNG that a decoder has written.
func viaPNG(file, program string, args ...string) (*image.NRGBA, error) {
	b, err := runTo(file, program, args...)
	if err != nil {
		return nil, err
	}
	m, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	return nrgba(m), nil
}

const magick = "convert-im6.q16"

// byImageMagick decodes a file of frames of one size.
func byImageMagick(d *bench, kind string, body []byte) ([]*image.NRGBA, error) {
	from := d.file("magick." + kind)
	if err := os.WriteFile(from, body, 0o600); err != nil {
		return nil, err
	}
	b, err := run(nil, magick, kind+":"+from, "-coalesce", "-depth", "8", "-colorspace", "sRGB", "-alpha",
		"set", "pam:-")
	if err != nil {
		return nil, err
	}
	var frames []*image.NRGBA
	for len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte("ENDHDR\n"))
		if !ok {
			return nil, fmt.Errorf("%s: no PAM", magick)
		}
		var width, height, depth int
		for line := range strings.Lines(string(head)) {
			_, _ = fmt.Sscanf(line, "WIDTH %d", &width)
			_, _ = fmt.Sscanf(line, "HEIGHT %d", &height)
			_, _ = fmt.Sscanf(line, "DEPTH %d", &depth)
		}
		if size := width * height * depth; size == 0 || len(rest) < size {
			return nil, fmt.Errorf("%s: PAM of %dx%dx%d", magick, width, height, depth)
		}
		m := image.NewNRGBA(image.Rect(0, 0, width, height))
		for i := range width * height {
			from, to := rest[i*depth:(i+1)*depth], m.Pix[4*i:]
			switch depth {
			case 1, 2:
				to[0], to[1], to[2] = from[0], from[0], from[0]
			default:
				copy(to[:3], from)
			}
			to[3] = 255
			if depth == 2 || depth == 4 {
				to[3] = from[depth-1]
			}
		}
		frames = append(frames, m)
		b = rest[width*height*depth:]
	}
	return frames, nil
}
