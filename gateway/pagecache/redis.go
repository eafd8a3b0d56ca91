package pagecache

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Redis is the address of a Redis server. A cluster is detected automatically.
type Redis struct {
	// Addresses are host:port or paths of Unix sockets: of one server, of some nodes of a
	// cluster, or of the sentinels.
	Addresses []string
	Username  string
	Password  string
	// Database is 0 to 15; a cluster has only 0.
	Database int
	// SentinelMaster is the name by which sentinels know the server; "" if Redis runs without sentinels.
	SentinelMaster string
	// TLS is nil for none.
	TLS *tls.Config
}

// ParseRedis reads host:port, several of these with commas, or a URL
// (redis://user:password@host:port/0?addr=other:port, rediss:// with TLS, unix:///path).
func ParseRedis(text string) (*Redis, error) {
	if !strings.Contains(text, "://") {
		addresses := strings.Split(text, ",")
		if slices.ContainsFunc(addresses, func(a string) bool { return !isAddress(a) }) {
			return nil, fmt.Errorf("%q: want host:port, several with commas, or redis://…", text)
		}
		return &Redis{Addresses: addresses}, nil
	}
	opt, err := rueidis.ParseURL(text)
	if err != nil {
		return nil, errors.New("invalid redis URL") // the error text has the password
	}
	r := &Redis{
		Addresses: opt.InitAddress, Username: opt.Username, Password: opt.Password,
		Database: opt.SelectDB, SentinelMaster: opt.Sentinel.MasterSet, TLS: opt.TLSConfig,
	}
	return r, nil
}

func isAddress(a string) bool {
	host, port, err := net.SplitHostPort(a)
	return strings.HasPrefix(a, "/") || err == nil && host != "" && port != ""
}

// Timeouts of a connection, after which a silent server is dialed again. Calls do not wait for
// them.
const (
	dialTimeout  = time.Second
	writeTimeout = 2 * time.Second
)

// options returns the options of the client: one connection per server, on which the server
// announces changes that other connections make under the tracked prefixes.
func (l *link) options(tracked bool) rueidis.ClientOption {
	r := l.cfg.Redis
	opt := rueidis.ClientOption{
		InitAddress: r.Addresses, Username: r.Username, Password: r.Password, SelectDB: r.Database, TLSConfig: r.TLS,
		Sentinel:         rueidis.SentinelOption{MasterSet: r.SentinelMaster, TLSConfig: r.TLS},
		Dialer:           net.Dialer{Timeout: dialTimeout},
		ConnWriteTimeout: writeTimeout,
		// A second connection would receive invalidations for the first one's writes.
		PipelineMultiplex: -1,
		AlwaysPipelining:  true, // a canceled call must not close the connection
		DisableRetry:      true, // a miss is cheaper
		DisableCache:      !tracked,
		ClusterOption:     rueidis.ClusterOption{ShardsRefreshInterval: 15 * time.Second},
		ClientName:        "imagetier-gateway",
		// The default buffers of half a megabyte are larger than needed.
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
		DialCtxFn: func(ctx context.Context, address string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			network := "tcp"
			if strings.HasPrefix(address, "/") {
				network = "unix"
			}
			var conn net.Conn
			var err error
			if r.TLS != nil && network == "tcp" {
				conn, err = (&tls.Dialer{NetDialer: d, Config: r.TLS}).DialContext(ctx, network, address)
			} else {
				conn, err = d.DialContext(ctx, network, address)
			}
			if err != nil {
				return nil, err
			}
			return l.dialed(conn), nil
		},
	}
	if r.SentinelMaster != "" {
		opt.Sentinel.TopologyRefreshInterval = 5 * time.Second
	}
	if tracked {
		opt.ClientTrackingOptions = []string{"BCAST", "NOLOOP", "PREFIX", "post:meta:", "PREFIX", "user:profile:"}
		opt.OnInvalidations = l.announced
	}
	return opt
}

// connect returns a client. Servers that do not support invalidation messages (before Redis 6, some
// proxies) are used without them.
func (l *link) connect() (rueidis.Client, error) {
	client, err := rueidis.NewClient(l.options(true))
	if errors.Is(err, rueidis.ErrNoCache) {
		l.cfg.Log.Warn("redis does not support invalidation messages; posts and profiles stay in memory for a few seconds only", "err", err)
		l.untracked.Store(true)
		client, err = rueidis.NewClient(l.options(false))
	}
	if err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	return client, nil
}
