package core

import (
	"fmt"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// elsewhere returns a shard with a replica here, of another group, that owns slots of a namespace
// according to its log; 0: none. Nodes that were given different files for a namespace that is added
// would make a second owner of it.
func (r *runner) elsewhere(plan *plan, s *planned, name relay.Namespace) (id shard.ID, err error) {
	r.local.each(func(p *replica) {
		o := plan.of(p.id.Shard)
		if id != 0 || err != nil || o == nil || o.group == s.group {
			return
		}
		v := r.disk.Read(p.id, false)
		defer v.Close()
		for ns, owned := range channel.Owns(v) {
			if ns == name && owned.Slots > 0 {
				id = p.id.Shard
			}
		}
		err = v.Err()
	})
	return id, err
}

// strangers says which namespaces a shard owns by its log that this node's settings put elsewhere.
func (p *plan) strangers(id shard.ID, owns map[relay.Namespace]int) (list []string) {
	s := p.of(id)
	if s == nil {
		return nil
	}
	for name, slots := range owns {
		ns, ok := p.namespaces[name]
		if !ok || slots == 0 || ns.in(p.groups[s.group]) {
			continue
		}
		g := p.groups[s.group]
		list = append(list, fmt.Sprintf("namespace %q: the shard has it in class %v at home %q, and this node's settings put it "+
			"in class %v at home %q; give all nodes the former", name, g.Class, g.Home, ns.Class, ns.Home))
	}
	return list
}
