package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"hash/maphash"
)

// Key stands for a key's text in this process. The seeds are secret and made
// anew at every start, so nobody can choose keys that collide; the text itself,
// which may be a person's address, is not kept.
type Key struct{ hi, lo uint64 }

var keySeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// KeyOf hashes the text of a key.
func KeyOf(text string) Key {
	return Key{maphash.String(keySeeds[0], text), maphash.String(keySeeds[1], text)}
}

// under is the key of one policy's counts. It stays in the shard of the key, so
// that several policies are charged under one lock.
func (k Key) under(p *policy) Key {
	return Key{k.hi, k.lo ^ uint64(p.id)*0x9e3779b97f4a7c15}
}

// shard is the index of the key's shard.
func (k Key) shard() int { return int(k.hi >> (64 - shardBits)) }

// id is what a shard knows the key by. It is never zero and leaves busy clear.
func (k Key) id() uint64 { return max(k.lo&^busy, busy<<1) }

// keyName is the same key's name in Redis, equal on all nodes: 128 bits of
// SHA-256, because there attackers know the function.
type keyName [16]byte

func nameOf(text string) keyName {
	sum := sha256.Sum256([]byte(text))
	return keyName(sum[:16])
}

func (n keyName) String() string { return base64.RawURLEncoding.EncodeToString(n[:]) }

// sharedName is the name as it stands in Redis.
func sharedName(text string) string { return nameOf(text).String() }
