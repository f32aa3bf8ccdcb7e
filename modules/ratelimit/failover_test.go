package ratelimit

import (
	"fmt"
	"testing"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// twoNodes loads the same zone in two processes, as far as memory goes. A zone
// that refuses during outages shows what is exact.
func twoNodes(t *testing.T, url string) []*Handler {
	block := "rate_limit {\nzone " + zoneName() + " {\nkey {http.request.header.X-User}\nrate 20/1h\non_error deny\n}\n}"
	nodes := []*Handler{newNode(t, url).mustLoad(block), otherProcess(newNode(t, url).mustLoad(block))}
	eventually(t, "both nodes reach redis", func() bool {
		return get(nodes[0], "/", "X-User: probe").status == 200 && get(nodes[1], "/", "X-User: probe").status == 200
	})
	return nodes
}

// use sends so many requests of a user to each node in turn and returns how many
// were admitted.
func use(nodes []*Handler, user string, n int) (admitted int) {
	for range n {
		for _, h := range nodes {
			if get(h, "/", "X-User: "+user).status == 200 {
				admitted++
			}
		}
	}
	return admitted
}

// served waits until a user who is new to both nodes is served by both.
func served(t *testing.T, nodes []*Handler, user func(try int) string) {
	try := 0
	eventually(t, "both nodes are served after the failover", func() bool {
		try++
		return use(nodes, user(try), 1) == 2
	})
}

// exhaust uses up the rest of a user's limit of 20, which must still be all
// there, and no more. Clients notice a failover at different times, so requests
// may be refused meanwhile.
func exhaust(t *testing.T, nodes []*Handler, user string, before int) {
	t.Helper()
	total := before
	eventually(t, user+" gets the rest of the limit", func() bool {
		total += use(nodes, user, 1)
		return total >= 20
	})
	if total += use(nodes, user, 10); total != 20 {
		t.Errorf("%s: %d admitted of 20/1h over the failover, want 20", user, total)
	}
}

func TestFailover_Cluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	nodes := twoNodes(t, cluster.URL())
	key := func(user string) string {
		return nodes[0].zones[0].limiter.backend.(*redisBackend).base(sharedName(user))
	}
	owners := map[int]int{}
	users := []string{}
	for i := range 12 {
		users = append(users, fmt.Sprint("user", i))
		owners[cluster.MasterOf(key(users[i]))]++
	}
	if len(owners) != 3 {
		t.Fatalf("the keys of 12 users lie on %d masters: the test shows nothing", len(owners))
	}
	before := map[string]int{}
	for _, user := range users {
		before[user] = use(nodes, user, 6)
		if before[user] != 12 {
			t.Errorf("%s: %d of 12 admitted below the limit of 20", user, before[user])
		}
	}

	lost := cluster.MasterOf(key(users[0]))
	cluster.Failover(lost)
	served(t, nodes, func(try int) string {
		for i := 0; ; i++ {
			if user := fmt.Sprintf("new%d.%d", try, i); cluster.MasterOf(key(user)) == lost {
				return user
			}
		}
	})
	for _, user := range users {
		exhaust(t, nodes, user, before[user])
	}
}

func TestFailover_Sentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	nodes := twoNodes(t, sentinel.URL())
	before := use(nodes, "a", 6)
	if before != 12 {
		t.Errorf("%d of 12 admitted below the limit of 20", before)
	}
	sentinel.Master.Kill()
	served(t, nodes, func(try int) string { return fmt.Sprint("new", try) })
	exhaust(t, nodes, "a", before)
}
