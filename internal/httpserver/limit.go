package httpserver

import (
	"container/list"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// silentGrace is the age from which a connection without a single byte is the first to
	// be replaced. A client sends its request, or its part of a TLS handshake, right after
	// connecting; the rest is what a loaded process needs to read it.
	silentGrace = 500 * time.Millisecond
	// headerGrace is the same for a connection whose first request is not complete: several
	// round trips, with a TLS handshake.
	headerGrace = time.Second
)

// connLimit bounds the open connections of one server. A request costs it one atomic store
// at its beginning and one at its end; everything else happens when connections open and
// close, and at their first byte and first request.
type connLimit struct {
	max        int
	perAddress int         // 0: no limit
	waiting    atomic.Bool // a new connection waits for room
	wake       chan struct{}
	closed     chan struct{}
	once       sync.Once

	mu        sync.Mutex
	open      map[*conn]struct{}   // guarded by mu, like all below
	silent    *list.List           // connections that have sent nothing, oldest first
	begun     *list.List           // connections whose first request is not complete, oldest first
	addresses map[netip.Prefix]int // open connections; empty without perAddress
}

func newConnLimit(limit, perAddress int) *connLimit {
	return &connLimit{
		max:        limit,
		perAddress: perAddress,
		wake:       make(chan struct{}, 1),
		closed:     make(chan struct{}),
		open:       make(map[*conn]struct{}),
		silent:     list.New(),
		begun:      list.New(),
		addresses:  make(map[netip.Prefix]int),
	}
}

// OpenFiles returns the limit on open files, at most 2^31-1. Go raises the soft limit to the hard one when a
// program starts, so the soft one is what counts.
func OpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur)
}

// listen returns ln with the limit applied. countLines says whether header lines are counted (headLines).
func (l *connLimit) listen(ln net.Listener, countLines bool) net.Listener {
	return &limitedListener{ln, l, countLines}
}

type limitedListener struct {
	net.Listener
	limit      *connLimit
	countLines bool
}

// Accept accepts a connection first and then waits for room, so other connections are closed
// only when a new one has actually arrived. One too many of its address is closed.
func (ln *limitedListener) Accept() (net.Conn, error) {
	for {
		accepted, err := ln.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: accepted, limit: ln.limit, address: addressOf(accepted)}
		c.head.counted = ln.countLines
		c.head.next()
		switch ln.limit.admit(c) {
		case admitted:
			return c, nil
		case refused:
			accepted.Close()
		case listenerClosed:
			accepted.Close()
			return nil, net.ErrClosed
		}
	}
}

func (ln *limitedListener) Close() error {
	ln.limit.once.Do(func() { close(ln.limit.closed) })
	return ln.Listener.Close()
}

// addressOf returns what one client is counted by: its IPv4 address, or the /64 network
// that a single IPv6 client usually has for itself. Its zero value is not counted.
func addressOf(c net.Conn) netip.Prefix {
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	addr := remote.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

type admission int

const (
	admitted admission = iota
	refused
	listenerClosed
)

// admit waits until there is room for c.
func (l *connLimit) admit(c *conn) admission {
	for {
		l.mu.Lock()
		if l.perAddress > 0 && c.address.IsValid() && l.addresses[c.address] >= l.perAddress {
			l.waiting.Store(false)
			l.mu.Unlock()
			return refused
		}
		if len(l.open) < l.max {
			l.addLocked(c)
			l.waiting.Store(false)
			l.mu.Unlock()
			return admitted
		}
		// Set before searching: a connection that turns idle after the search sees it.
		l.waiting.Store(true)
		replaced, due := l.replaceableLocked(time.Now())
		l.mu.Unlock()
		if replaced != nil {
			_ = replaced.Close() // makes room
			continue
		}
		var timer <-chan time.Time
		if due > 0 {
			timer = time.After(due)
		}
		select {
		case <-l.wake:
		case <-timer:
		case <-l.closed:
			return listenerClosed
		}
	}
}

func (l *connLimit) addLocked(c *conn) {
	c.opened = time.Now() // it may have waited for room
	l.open[c] = struct{}{}
	c.newcomers = l.silent
	c.place = l.silent.PushBack(c)
	if l.perAddress > 0 {
		l.addresses[c.address]++
	}
}

// replaceableLocked returns the connection whose loss costs least: the oldest newcomer that
// is older than its grace, or else the longest idle, unless newcomers have most connections.
// If it returns nil, due is the time until a newcomer can be replaced, 0 without newcomers.
func (l *connLimit) replaceableLocked(now time.Time) (replaced *conn, due time.Duration) {
	for _, newcomers := range []struct {
		*list.List
		grace time.Duration
	}{{l.silent, silentGrace}, {l.begun, headerGrace}} {
		front := newcomers.Front()
		if front == nil {
			continue
		}
		oldest := front.Value.(*conn)
		left := newcomers.grace - now.Sub(oldest.opened)
		if left <= 0 {
			return oldest, 0
		}
		if due == 0 || left < due {
			due = left
		}
	}
	if l.silent.Len()+l.begun.Len() <= l.max/2 {
		replaced = l.longestIdleLocked()
	}
	return replaced, due
}

// move puts c, if it is a newcomer, to the other list of newcomers, or with nil to none.
func (l *connLimit) move(c *conn, to *list.List) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.newcomers == nil {
		return
	}
	c.newcomers.Remove(c.place)
	c.newcomers, c.place = to, nil
	if to != nil {
		c.place = to.PushBack(c)
	}
}

// closeNewcomers closes the connections without a complete request. [http.Server.Shutdown]
// would wait for them for several seconds.
func (l *connLimit) closeNewcomers() {
	l.mu.Lock()
	var all []*conn
	for _, newcomers := range []*list.List{l.silent, l.begun} {
		for at := newcomers.Front(); at != nil; at = at.Next() {
			all = append(all, at.Value.(*conn))
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// closeIdleHTTP1 closes the idle connections of http1. [http.Server.Shutdown] closes the others.
func (l *connLimit) closeIdleHTTP1() {
	l.mu.Lock()
	var idle []*conn
	for c := range l.open {
		if since := c.idleSince.Load(); since > 0 && c.http1.Load() && c.idleSince.CompareAndSwap(since, 0) {
			idle = append(idle, c)
		}
	}
	l.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}

// closeHTTP1 closes the connections of http1.
func (l *connLimit) closeHTTP1() {
	l.mu.Lock()
	var all []*conn
	for c := range l.open {
		if c.http1.Load() {
			all = append(all, c)
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// longestIdleLocked marks the connection that has been idle longest as busy and returns
// it; nil if no connection is idle.
func (l *connLimit) longestIdleLocked() *conn {
	for {
		var oldest *conn
		since := int64(0)
		for c := range l.open {
			if at := c.idleSince.Load(); at > 0 && (oldest == nil || at < since) {
				oldest, since = c, at
			}
		}
		if oldest == nil || oldest.idleSince.CompareAndSwap(since, 0) {
			return oldest
		}
	}
}

// stateChanged is the ConnState hook of http.Server.
func (l *connLimit) stateChanged(changed net.Conn, state http.ConnState) {
	if wrapped, ok := changed.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		changed = wrapped.NetConn()
	}
	c, ok := changed.(*conn)
	if !ok {
		return
	}
	if state == http.StateActive || state == http.StateIdle {
		if !c.served.Load() {
			c.served.Store(true)
			l.move(c, nil)
		}
	}
	if state != http.StateIdle {
		c.idleSince.Store(0)
		return
	}
	c.head.next()
	c.idleSince.Store(time.Now().UnixNano())
	if l.waiting.Load() {
		l.signal()
	}
}

func (l *connLimit) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *connLimit) remove(c *conn) {
	l.mu.Lock()
	delete(l.open, c)
	if c.newcomers != nil {
		c.newcomers.Remove(c.place)
		c.newcomers, c.place = nil, nil
	}
	if l.perAddress > 0 {
		if l.addresses[c.address]--; l.addresses[c.address] <= 0 {
			delete(l.addresses, c.address)
		}
	}
	l.mu.Unlock()
	if l.waiting.Load() {
		l.signal()
	}
}
