package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisKeepAlive finds a connection whose other end is gone without a word within
// 5 s. It is the kernel that asks: a PING of ours would cost Redis a command.
var redisKeepAlive = net.KeepAliveConfig{
	Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
}

// dialRedis returns how connections are made, with TLS if the options say so. The
// server's name is that of the address, unless the options name another.
func dialRedis(o *redis.UniversalOptions) func(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: o.DialTimeout, KeepAliveConfig: redisKeepAlive}
	if o.TLSConfig == nil {
		return dialer.DialContext
	}
	return (&tls.Dialer{NetDialer: dialer, Config: o.TLSConfig}).DialContext
}
