package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/settings"
	"github.com/novasocial/imagetier/internal/webhook"
	"github.com/novasocial/imagetier/origin/sourceurl"
	"github.com/novasocial/imagetier/resize"
)

// Names in URLs of images.
var (
	sourceName    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	watermarkName = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
)

func nonEmpty(p *string) settings.Value {
	return settings.Checked(p, func(text string) error {
		if text == "" || strings.IndexByte(text, 0) >= 0 {
			return errors.New("want a path")
		}
		return nil
	})
}

// megapixels parses millions of pixels, fractions allowed.
func megapixels(p *int64) settings.Value {
	return settings.Func(func(text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.Trim(text, "0123456789.") != "" || n < 0.01 || n > 10_000 {
			return fmt.Errorf("%q: want millions of pixels from 0.01 to 10000", text)
		}
		*p = int64(math.Round(n * 1e6))
		return nil
	}, func() string { return strconv.FormatFloat(float64(*p)/1e6, 'f', -1, 64) })
}

// cutNamed splits NAME=VALUE; want describes that.
func cutNamed(item, want string) (name, value string, err error) {
	name, value, _ = strings.Cut(item, "=")
	if value == "" {
		return "", "", fmt.Errorf("%q: want %s", item, want)
	}
	return name, value, nil
}

func sources(p *[]Source) settings.Value {
	return settings.Items(p, func(item string) (s Source, err error) {
		if s.Name, s.Text, err = cutNamed(item, "NAME=URL, like posts=s3://bucket/prefix"); err != nil {
			return s, err
		}
		if !sourceName.MatchString(s.Name) {
			return s, fmt.Errorf("source %q: a name has 1-32 of a-z 0-9 - and begins with a letter", s.Name)
		}
		if slices.ContainsFunc(*p, func(other Source) bool { return other.Name == s.Name }) {
			return s, fmt.Errorf("source %s is a duplicate", s.Name)
		}
		if s.URL, err = sourceurl.Parse(s.Text); err != nil {
			return s, fmt.Errorf("source %s: %w", s.Name, err)
		}
		return s, nil
	})
}

func watermarks(p *[]Watermark) settings.Value {
	return settings.Items(p, func(item string) (w Watermark, err error) {
		if w.Name, w.File, err = cutNamed(item, "NAME=FILE, like logo=/etc/imagetier/logo.png"); err != nil {
			return w, err
		}
		if !watermarkName.MatchString(w.Name) {
			return w, fmt.Errorf("watermark %s: a name has 1-16 of a-z 0-9", w.Name)
		}
		if slices.ContainsFunc(*p, func(other Watermark) bool { return other.Name == w.Name }) {
			return w, fmt.Errorf("watermark %s is a duplicate", w.Name)
		}
		if len(*p) == resize.MaxWatermarks {
			return w, fmt.Errorf("more than %d watermarks", resize.MaxWatermarks)
		}
		return w, nil
	})
}

// signingKeys parses k2=HEX,k1=HEX; a file of keys may have one per line.
func signingKeys(p *[]imageurl.Key) settings.Value {
	return settings.Func(func(text string) error {
		parsed, err := imageurl.ParseKeys(text)
		if err != nil {
			return err
		}
		*p = parsed
		return nil
	}, func() string {
		var items []string
		for _, k := range *p {
			items = append(items, k.Text())
		}
		return strings.Join(items, ",")
	})
}

// webhookSecrets parses secrets of Standard Webhooks, separated by commas or white space.
func webhookSecrets(p *[]string) settings.Value {
	return settings.Func(func(text string) (err error) {
		*p, err = webhook.ParseSecrets(text)
		return err
	}, func() string { return strings.Join(*p, ",") })
}

// derivedURL parses an S3 source without the options that only sources have.
func derivedURL(p *Derived) settings.Value {
	return settings.Func(func(text string) error {
		if text == "" {
			*p = Derived{}
			return nil
		}
		parsed, err := sourceurl.Parse(text)
		switch {
		case err != nil:
			return err
		case parsed.Kind != sourceurl.S3:
			return errors.New("want s3://bucket/prefix")
		case parsed.Originals || parsed.MissingIs403 || parsed.OpaqueETags || parsed.RequesterPays:
			return fmt.Errorf("%q: originals, missing, etag and request-payer are only for --source", text)
		}
		*p = Derived{URL: parsed, Text: text}
		return nil
	}, func() string { return p.Text })
}

// hookURL parses the URL of the purge hook. Its errors contain no password.
func hookURL(p *string) settings.Value {
	return settings.Checked(p, func(text string) error {
		if text == "" {
			return nil
		}
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "":
			return errors.New("want a URL like https://adapter.example/purges")
		case u.User != nil:
			return errors.New("want a URL without user and password: requests are authenticated by their signature")
		}
		return nil
	})
}

// balancer parses a base URL: scheme, host and optionally a path, to which /i/… is appended.
func balancer(p *string) settings.Value {
	return settings.Func(func(text string) error {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
			u.RawQuery != "" || u.Fragment != "" || u.User != nil) {
			return fmt.Errorf("%q: want a URL like http://balancer:8080", text)
		}
		*p = strings.TrimRight(text, "/")
		return nil
	}, func() string { return *p })
}

// natsURL parses the URLs of NATS servers. Its errors contain no password.
func natsURL(p *string) settings.Value {
	return settings.Func(func(text string) error {
		urls := strings.Fields(strings.ReplaceAll(text, ",", " "))
		for _, item := range urls {
			u, err := url.Parse(item)
			if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "" {
				return errors.New("want URLs like nats://host:4222 or tls://user:password@host:4222, " +
					"several separated by commas")
			}
		}
		*p = strings.Join(urls, ",")
		return nil
	}, func() string { return *p })
}

// longToken parses a bearer token that is too long to be guessed.
func longToken(p *string) settings.Value {
	var text string
	token := settings.Token(&text)
	return settings.WholeSecret(settings.Func(func(given string) error {
		if err := token.Set(given); err != nil {
			return err
		}
		if n := len(text); n > 0 && n < minToken {
			return fmt.Errorf("%d characters, want at least %d: `openssl rand -hex 32` makes one", n, minToken)
		}
		*p = text
		return nil
	}, func() string { return *p }))
}

// snsTopic is the ARN of a topic of Amazon SNS.
func snsTopic(p *string) settings.Value {
	return settings.Func(func(given string) error {
		parts := strings.Split(given, ":")
		if given != "" && (len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || parts[5] == "") {
			return errors.New("want arn:aws:sns:REGION:ACCOUNT:NAME")
		}
		*p = given
		return nil
	}, func() string { return *p })
}

// maxSample is the largest N of an access log of one request in N.
const maxSample = 1_000_000

// accessLog parses off, errors, all, or 1/N.
func accessLog(p *AccessLog) settings.Value {
	return settings.Func(func(text string) error {
		switch text {
		case "off":
			*p = AccessLog{}
			return nil
		case "errors":
			*p = AccessLog{Errors: true}
			return nil
		case "all":
			*p = AccessLog{Errors: true, Every: 1}
			return nil
		}
		every, sampled := strings.CutPrefix(text, "1/")
		n, err := strconv.Atoi(every)
		if !sampled || err != nil || n < 1 || n > maxSample || strings.Trim(every, "0123456789") != "" {
			return fmt.Errorf("%q: want off, errors, all, or a sample from 1/1 to 1/%d", text, maxSample)
		}
		*p = AccessLog{Errors: true, Every: n}
		return nil
	}, func() string { return p.String() })
}

// minToken is the minimum length of a token.
const minToken = 16
