// Package seed invents users, for tests of what many users are like.
package seed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// batch is how many users are stored at once.
const batch = 1000

// span is how far back the first of them was created.
const span = 2 * 365 * 24 * time.Hour

var (
	first = strings.Fields(`Ada Grace Alan Edsger Barbara Donald Margaret Dennis Ken Frances Radia Tim Hedy Claude Karen Niklaus
		Annie John Mary Linus Guido Sophie Adele Leslie Shafi Robin Lynn Tony Evelyn Vint Amina Yuki Chidi Mei Priya Omar Ingrid
		José Zoë Björn Łukasz Aïcha Nguyễn Søren Fatima Dmitri Kwame Aroha Mateo Noor`)
	last = strings.Fields(`Lovelace Hopper Turing Dijkstra Liskov Knuth Hamilton Ritchie Thompson Allen Perlman Lee Lamarr Shannon
		Jones Wirth Easley Backus Keller Torvalds Rossum Wilson Goldberg Lamport Goldwasser Milner Conway Hoare Boyd Cerf O'Neil
		García Müller Kowalski Nakamura Okafor Zhang Patel Haddad Larsen Dupont Rossi Ivanova Mensah Ngata Silva`)
	bios = []string{
		"Writes compilers, mostly on Sundays.", "Gardener. Cyclist. Sometimes asleep.", "Here for the coffee.",
		"I take photographs of bridges.", "Teaching mathematics to anybody who will listen.", "Sails, climbs, forgets appointments.",
	}
)

// Users stores n invented users after those that are there, the oldest first.
// progress is told how many are stored so far.
func Users(ctx context.Context, db *sql.DB, n int, passwordHash string, progress func(done int)) error {
	base, err := db.LastUserID(ctx)
	if err != nil {
		return err
	}
	// The same run number, the same users: a test can rely on them.
	random := rand.New(rand.NewPCG(1, uint64(base))) //nolint:gosec // nothing is to be guessed here
	now := time.Now()
	for done := 0; done < n; {
		size := min(batch, n-done)
		users := make([]sql.SeedRow, size)
		for i := range users {
			number := done + i
			users[i] = invent(random, base+int64(number)+1)
			users[i].CreatedAt = now.Add(-span + time.Duration(float64(span)*float64(number)/float64(n)))
		}
		if err := db.Seed(ctx, users, passwordHash); err != nil {
			return err
		}
		done += size
		progress(done)
	}
	return nil
}

// invent makes up a user. The number keeps the address its own.
func invent(r *rand.Rand, number int64) sql.SeedRow {
	name := pick(r, first) + " " + pick(r, last)
	u := sql.SeedRow{NewUser: backend.NewUser{
		Email: fmt.Sprintf("%s.%d@example.com", localPart(name), number),
		Name:  name, Role: backend.RoleUser, Plan: backend.PlanFree,
	}}
	if r.IntN(10) > 0 { // one in ten does not say
		age := backend.MinAge + r.IntN(70)
		u.Age = &age
	}
	if r.IntN(10) == 0 {
		u.Plan = backend.PlanPro
	}
	if r.IntN(2) == 0 {
		u.Bio = pick(r, bios)
	}
	return u
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

// localPart keeps of a name what an address may hold.
func localPart(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '.'
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z':
			return r
		}
		return -1
	}, name)
}
