package trace

import (
	"errors"
	"math/rand/v2"
)

// visitsPerSession is how often a user comes before a new one takes the place.
const visitsPerSession = 20

// visit is who makes call i of sessions, and how many visits were before: the places come in turn, so that
// each user is back after Sessions calls. Places begin at different visits: users come and go evenly.
func (g *Generator) visit(i uint64) (user uint64, visits int) {
	places := uint64(g.mix.Sessions)
	place := i % places
	turn := i/places + place%visitsPerSession
	return place + places*(turn/visitsPerSession), int(turn % visitsPerSession)
}

// events is the size of a user's history at the first visit, and at this one: an event or two more each time.
func (g *Generator) events(user uint64, visits int) (begun, now int) {
	rng := rand.New(rand.NewPCG(g.mix.Seed, ^user))
	begun = g.mix.History.draw(rng)
	now = begun
	for range visits {
		now += 1 + rng.IntN(2)
	}
	return begun, now
}

func (m *Mix) sessionFaults() error {
	switch {
	case m.Sessions > 0 && !m.History.Set:
		return errors.New("-sessions needs -history, the events of a user at the first visit")
	case m.Sessions > 0 && m.Ordered:
		return errors.New("-sessions makes its own order; drop -ordered")
	}
	return nil
}
