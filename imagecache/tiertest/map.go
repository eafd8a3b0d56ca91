package tiertest

import (
	"bytes"
	"context"
	"maps"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// Map is an unbounded [imagecache.Tier] in a map, for tests of what uses tiers. Its zero value is empty, and it is
// safe for concurrent use.
type Map struct {
	mu     sync.Mutex
	images map[imagecache.Key]imagecache.Image // guarded by mu
}

// Get implements [imagecache.Tier].
func (m *Map) Get(_ context.Context, key imagecache.Key) (imagecache.Image, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	img, ok := m.images[key]
	if !ok {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	return img, nil
}

// Put implements [imagecache.Tier].
func (m *Map) Put(_ context.Context, key imagecache.Key, img imagecache.Image) error {
	img.Body = bytes.Clone(img.Body)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.images == nil {
		m.images = make(map[imagecache.Key]imagecache.Image)
	}
	m.images[key] = img
	return nil
}

// Purge implements [imagecache.Tier].
func (m *Map) Purge(_ context.Context, target imagecache.Target) (imagecache.Removed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.eachLocked(target, func(key imagecache.Key) { delete(m.images, key) }), nil
}

// Count implements [imagecache.Tier].
func (m *Map) Count(_ context.Context, target imagecache.Target) (imagecache.Removed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.eachLocked(target, func(imagecache.Key) {}), nil
}

// eachLocked calls do for the key of each image of target, and returns their sizes.
func (m *Map) eachLocked(target imagecache.Target, do func(imagecache.Key)) (all imagecache.Removed) {
	for key, img := range m.images {
		if key == target.Key || target.Key == (imagecache.Key{}) && key.Original() == target.Original {
			all.Add(key, int64(len(img.Body)))
			do(key)
		}
	}
	return all
}

// Images returns all images by key.
func (m *Map) Images() map[imagecache.Key]imagecache.Image {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.images)
}

// Clear removes all images.
func (m *Map) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.images)
}
