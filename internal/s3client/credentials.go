package s3client

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/novasocial/imagetier/origin"
)

// checkEvery is how often the files of credentials are looked at.
const checkEvery = time.Second

// files is the standard chain of credentials. The SDK reads the shared files once; this reads
// them again when one has changed, and after expired, since other processes rotate them.
type files struct {
	load []func(*config.LoadOptions) error

	mu       sync.Mutex // held while the files are read
	provider aws.CredentialsProvider
	paths    [2]string
	seen     [2]stamp
	checked  time.Time
	stale    bool // read again, whether a file has changed or not
}

// stamp tells whether a file has changed.
type stamp struct {
	size     int64
	modified time.Time
}

func newFiles(provider aws.CredentialsProvider, load []func(*config.LoadOptions) error) *files {
	f := &files{
		load: load, provider: provider, checked: time.Now(),
		paths: [2]string{config.DefaultSharedCredentialsFilename(), config.DefaultSharedConfigFilename()},
	}
	if env, err := config.NewEnvConfig(); err == nil { // AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE
		for i, path := range []string{env.SharedCredentialsFile, env.SharedConfigFile} {
			if path != "" {
				f.paths[i] = path
			}
		}
	}
	f.seen = f.stamps()
	return f
}

func (f *files) stamps() (now [2]stamp) {
	for i, path := range f.paths {
		if info, err := os.Stat(path); err == nil {
			now[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return now
}

func (f *files) expired() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stale = true
}

// Retrieve implements aws.CredentialsProvider.
func (f *files) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := f.current(ctx).Retrieve(ctx)
	if err != nil && ctx.Err() == nil {
		return got, fmt.Errorf("%w: %w: %w", origin.ErrDenied, origin.ErrNoCredentials, err)
	}
	return got, err
}

// current returns the provider, read again if that is due. If the files cannot be read, which
// they may not be while they are written, the provider stays and they are read again later.
func (f *files) current(ctx context.Context) aws.CredentialsProvider {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < checkEvery {
		return f.provider
	}
	f.checked = time.Now()
	now := f.stamps()
	if now == f.seen && !f.stale {
		return f.provider
	}
	loaded, err := config.LoadDefaultConfig(ctx, f.load...)
	if err != nil || loaded.Credentials == nil {
		return f.provider
	}
	f.provider, f.seen, f.stale = loaded.Credentials, now, false
	return f.provider
}
