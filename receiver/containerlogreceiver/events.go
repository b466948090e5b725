package containerlogreceiver

import (
	"context"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
)

// handle takes an event.
func (f *follower) handle(s *session, message events.Message) {
	at := time.Unix(0, message.TimeNano)
	if at.After(f.heard) { // those of the same moment can come in another order
		f.heard = at
	}
	id := message.Actor.ID
	if id == "" || f.own.is(id) {
		return
	}
	c := f.get(id)
	if message.Action == events.ActionStart {
		f.startEvent(s, c, message)
		return
	}
	if c == nil {
		return
	}
	f.note(c, message)
	switch message.Action {
	case events.ActionDie, "died":
		c.ended(false)
	case events.ActionDestroy, events.ActionRemove:
		c.ended(true)
		f.forget(c)
	case events.ActionRename:
		if at.Before(s.clock) {
			return // told later than it happened: the list has the name of now
		}
		f.renamed(s, c, strings.TrimPrefix(message.Actor.Attributes["name"], "/"))
	}
}

// renamed can make a container one that is captured, or no more.
func (f *follower) renamed(s *session, c *followed, name string) {
	c.rename(name)
	c.mu.Lock()
	task, followed, running := c.task, c.stream != nil, c.running
	c.mu.Unlock()
	switch selected := f.selected(c); {
	case followed && !selected:
		task.Cancel()
	case !followed && selected && running:
		f.follow(c, s)
	}
}

// startEvent opens the log at once, with what the event says: a container that is removed when it ends may live for 30 ms only.
func (f *follower) startEvent(s *session, c *followed, message events.Message) {
	if c == nil {
		c = f.add(s, message.Actor.ID, told(message))
	}
	f.note(c, message)
	c.started()
	c.mu.Lock()
	needed := c.stream == nil && !c.refused
	c.mu.Unlock()
	if needed && f.selected(c) {
		f.follow(c, s)
	}
}

// forget gives up a container that the engine has removed. A stream that still reads does so itself, at its end.
func (f *follower) forget(c *followed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		f.removed(c)
		if c.noted.Load() {
			f.Go("note", c.about.name, func(ctx context.Context) { f.remark(ctx, c) })
		}
	}
}

// removed takes a container off the set whose stream has ended. The container's lock is held.
func (f *follower) removed(c *followed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.containers[c.id] == c {
		delete(f.containers, c.id)
		f.Store.Delete(c.key)
	}
}
