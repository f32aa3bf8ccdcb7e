package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// hashSlots is how many slots the keys of a Cluster are divided into.
const hashSlots = 16384

// Cluster is a Redis Cluster in which every master has one replica. It ends
// with the test.
type Cluster struct {
	tb       testing.TB
	Masters  []*Server
	Replicas []*Server // of the master of the same index
}

// StartCluster starts a Cluster of so many masters and waits until it serves.
func StartCluster(tb testing.TB, masters int) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	args := []string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--repl-diskless-sync-delay", "0"}
	for range masters {
		c.Masters = append(c.Masters, Start(tb, args...))
		c.Replicas = append(c.Replicas, Start(tb, args...))
	}
	first := c.Masters[0].Client()
	for i, s := range c.Masters {
		from, to := i*hashSlots/masters, (i+1)*hashSlots/masters-1
		if err := s.Client().ClusterAddSlotsRange(context.Background(), from, to).Err(); err != nil {
			tb.Fatalf("giving slots to a master: %v", err)
		}
	}
	for _, s := range append(c.Masters[1:], c.Replicas...) {
		if err := first.ClusterMeet(context.Background(), "127.0.0.1", fmt.Sprint(s.port)).Err(); err != nil {
			tb.Fatalf("joining the cluster: %v", err)
		}
	}
	for i, s := range c.Masters {
		id := s.Client().ClusterMyID(context.Background()).Val()
		replica := c.Replicas[i].Client()
		await(tb, "a replica knows its master", func() bool {
			return replica.ClusterReplicate(context.Background(), id).Err() == nil
		})
	}
	for _, s := range append(c.Masters, c.Replicas...) {
		await(tb, "the cluster serves", func() bool {
			info := s.Client().ClusterInfo(context.Background()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", 2*masters))
		})
	}
	for _, s := range c.Replicas {
		awaitLink(tb, s)
	}
	return c
}

// URL is how a config names the Cluster.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range append(c.Masters, c.Replicas...) {
		addrs = append(addrs, s.Addr())
	}
	return "redis+cluster://" + strings.Join(addrs, ",")
}

// MasterOf returns the index of the master that holds a key.
func (c *Cluster) MasterOf(key string) int {
	slot := c.Masters[0].Client().ClusterKeySlot(context.Background(), key).Val()
	return int((slot*int64(len(c.Masters)) + int64(len(c.Masters)) - 1) / hashSlots)
}

// Failover kills a master and lets its replica take over at once: how long the
// nodes need to agree depends on the machine, and is not what tests are about.
func (c *Cluster) Failover(master int) {
	c.tb.Helper()
	c.Masters[master].Kill()
	replica := c.Replicas[master].Client()
	await(c.tb, "the replica takes over", func() bool {
		return replica.Do(context.Background(), "CLUSTER", "FAILOVER", "TAKEOVER").Err() == nil &&
			strings.Contains(replica.Info(context.Background(), "replication").Val(), "role:master")
	})
}

// Sentinel is a master with a replica, watched by three Sentinels.
type Sentinel struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// sentinelName is what the Sentinels call the master.
const sentinelName = "fairway"

// StartSentinel starts a master, its replica and three Sentinels.
func StartSentinel(tb testing.TB) *Sentinel {
	tb.Helper()
	s := &Sentinel{Master: Start(tb, "--repl-diskless-sync-delay", "0")}
	s.Replica = Start(tb, "--replicaof", "127.0.0.1", fmt.Sprint(s.Master.port))
	awaitLink(tb, s.Replica)
	for range 3 {
		s.Sentinels = append(s.Sentinels, startSentinel(tb, s.Master))
	}
	for _, watcher := range s.Sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: watcher.Addr()})
		await(tb, "the sentinels know each other and the replica", func() bool {
			master := client.Master(context.Background(), sentinelName).Val()
			return master["num-other-sentinels"] == "2" && master["num-slaves"] == "1"
		})
		client.Close()
	}
	return s
}

// URL is how a config names what the Sentinels watch.
func (s *Sentinel) URL() string {
	var addrs []string
	for _, watcher := range s.Sentinels {
		addrs = append(addrs, watcher.Addr())
	}
	return "redis+sentinel://" + sentinelName + "@" + strings.Join(addrs, ",")
}

func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(2 * startLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	tb.Fatalf("it never came true that %s", what)
}

func awaitLink(tb testing.TB, replica *Server) {
	tb.Helper()
	client := replica.Client()
	await(tb, "the replica follows its master", func() bool {
		return strings.Contains(client.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
}
