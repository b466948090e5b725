package containerlogreceiver

import (
	"context"
	"time"
)

// journald is the log driver that gives lines to another service, which stores them.
const journald = "journald"

// awaitJournal is for a container that has just ended: the engine has sent its last lines to journald, which stores them when it gets to it,
// and Docker 20.10 does not wait for that. It reports whether more can have come to what was read.
func (st *stream) awaitJournal(ctx context.Context) (bool, error) {
	const late = 3 * time.Second
	st.c.mu.Lock()
	driver, died := st.c.about.driver, st.c.died
	st.c.mu.Unlock()
	waited := false
	for left := late - time.Since(died); driver == journald && left > 0; left = late - time.Since(died) {
		waited = true
		if now := st.c.state(); now.gone || now.starts != st.starts {
			return false, nil
		}
		if err := st.c.awaitChange(ctx, left); err != nil {
			return false, err
		}
	}
	return waited, nil
}
