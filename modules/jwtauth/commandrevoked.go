package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// readingLimit is how long `token inspect` waits for Redis.
const readingLimit = 5 * time.Second

// readRevocations reads what a gateway with this config would know to be
// revoked, from where it keeps that: Redis, if the config has one, and Caddy's
// storage. where names these places. After an error some may be known.
func readRevocations(document []byte) (known *revocations, where string, err error) {
	known = newRevocations()
	var config caddy.Config
	if err := json.Unmarshal(document, &config); err != nil {
		return known, "", err
	}
	// Only what says where they are: a command must not start a gateway.
	places := &caddy.Config{StorageRaw: config.StorageRaw}
	if app, found := config.AppsRaw[gateway.AppID]; found {
		places.AppsRaw = caddy.ModuleMap{gateway.AppID: app}
	}
	ctx, err := caddy.ProvisionContext(places)
	if err != nil {
		return known, "", err
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return known, "", err
	}
	s := &revocationStore{revocations: known, redis: app.Redis(), storage: ctx.Storage(), logger: logger()}
	where = describeStorage(s.storage)
	if err = s.readStorage(ctx); err != nil {
		err = fmt.Errorf("reading %s: %w", where, err)
	}
	if s.redis == nil {
		return known, where, err
	}
	where = s.redis.Name() + " and " + where
	limited, cancel := context.WithTimeout(ctx, readingLimit)
	defer cancel()
	if _, redisErr := s.readRedis(limited); redisErr != nil {
		err = errors.Join(err, fmt.Errorf("reading %s: %w", s.redis.Name(), redisErr))
	}
	return known, where, err
}
