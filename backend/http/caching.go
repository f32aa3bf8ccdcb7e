package http

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairway-gateway/fairway/backend"
)

// How long the gateway may answer for us. It keeps what it knows per user and is
// told of every change, so that these bound only what it did not hear of.
const (
	userAge = 60
	listAge = 10
)

// Cacheable is the head of an answer that the client checks each time and the
// gateway keeps (RFC 9213, RFC 9875). Vary names the token because no other
// user, and no other token, may ever be given it.
type Cacheable struct {
	CacheControl string `header:"Cache-Control" doc:"For clients: private, and to be revalidated"`
	Gateway      string `header:"Fairway-Cache-Control" doc:"For the gateway, which removes it"`
	Groups       string `header:"Cache-Groups" doc:"What the gateway drops it with"`
	Vary         string `header:"Vary"`
}

func cacheableFor(seconds int, groups ...string) Cacheable {
	return Cacheable{
		CacheControl: "private, no-cache",
		Gateway:      "public, max-age=" + strconv.Itoa(seconds),
		Groups:       groupList(groups...),
		Vary:         "Authorization",
	}
}

// Changed is the head of an answer to a change: it makes the gateway drop every
// answer of the groups.
type Changed struct {
	Invalidates string `header:"Cache-Group-Invalidation" doc:"What the gateway drops"`
}

func changedUser(id int64) Changed {
	return Changed{Invalidates: groupList(userGroup(id), listGroup)}
}

// listGroup holds every list of users.
const listGroup = "users"

// userGroup holds every answer about one user.
func userGroup(id int64) string { return fmt.Sprintf("user-%d", id) }

// groupList writes a structured list of strings (RFC 9651). No group of ours
// needs escaping.
func groupList(groups ...string) string { return `"` + strings.Join(groups, `", "`) + `"` }

// etag names one version of a user.
func etag(u *backend.User) string { return fmt.Sprintf(`"%d-%d"`, u.ID, u.Version) }

// encodings are what compressing proxies append to an entity tag.
var encodings = []string{"-gzip", "-zstd", "-br"}

// entityTags splits If-Match and If-None-Match. A tag keeps its quotes and its
// weakness, and loses what a compressing gateway added.
func entityTags(header string) []string {
	var tags []string
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		for _, e := range encodings {
			if bare, ok := strings.CutSuffix(tag, e+`"`); ok {
				tag = bare + `"`
			}
		}
		tags = append(tags, tag)
	}
	return tags
}

// noneMatch reports whether If-None-Match lets the answer be sent: weak
// comparison (RFC 9110, 13.1.2).
func noneMatch(header, current string) bool {
	for _, tag := range entityTags(header) {
		if tag == "*" || strings.TrimPrefix(tag, "W/") == current {
			return false
		}
	}
	return true
}

// wantedVersions returns the versions of a user that If-Match accepts: strong
// comparison (RFC 9110, 13.1.1). any is true if every version will do.
func wantedVersions(header string, id int64) (versions []int64, any bool) {
	if header == "" {
		return nil, true
	}
	prefix := fmt.Sprintf(`"%d-`, id)
	for _, tag := range entityTags(header) {
		if tag == "*" {
			return nil, true
		}
		number := strings.TrimSuffix(strings.TrimPrefix(tag, prefix), `"`)
		v, err := strconv.ParseInt(number, 10, 64)
		if err == nil && v > 0 && tag == fmt.Sprintf(`"%d-%d"`, id, v) { // in no other spelling
			versions = append(versions, v)
		}
	}
	return versions, false
}
