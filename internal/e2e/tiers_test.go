//go:build linux

package e2e

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// newGateway is the shipped gateway.yaml in front of a sink. It listens at addr, also when it is started again.
func newGateway(t *testing.T, s *sink, addr string) (gateway *collector, metrics string) {
	t.Helper()
	gateway, metrics = newMeteredCollector(t, settings{shipped: "gateway.yaml", endpoint: s.addr, env: []string{"LOGCAPTURE_LISTEN=" + addr}})
	gateway.start()
	return gateway, metrics
}

// TestGatewayThatIsKilledLosesNothing: an agent's line is acknowledged when the backend behind the gateway has it.
func TestGatewayThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	addr := freeAddr(t)
	gateway, _ := newGateway(t, sink, addr)
	c := newCapture(t, settings{shipped: "direct.yaml", endpoint: addr, sink: sink})
	sink.forgetAll()
	for range 3 {
		captured(t, c.lines, 500)
		gateway.kill()
		c.goesOn(t, 200)
		gateway.start()
	}
	captured(t, c.lines, 500)
	c.col.kill()
	c.col.start()
	c.end(t)
	t.Logf("%d of %d lines came again after 3 kills of the gateway and one of the agent", c.lines.forgive(), c.lines.count())
	c.lines.exact(t)
	gateway.stop(stopLimit)
}

// TestGatewayThatStopsRepeatsNothing: a gateway that ends in peace answers what it has in hand.
func TestGatewayThatStopsRepeatsNothing(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	addr := freeAddr(t)
	gateway, _ := newGateway(t, sink, addr)
	c := newCapture(t, settings{shipped: "direct.yaml", endpoint: addr, sink: sink})
	for range 2 {
		captured(t, c.lines, 500)
		gateway.stop(stopLimit)
		c.goesOn(t, 200)
		gateway.start()
	}
	c.end(t)
	c.lines.exact(t)
	gateway.stop(stopLimit)
}

// TestOneOfTwoGatewaysIsEnough: capture goes on while a gateway is killed, or is there and does nothing. Nothing is lost, and a gateway
// that is back takes its part again.
func TestOneOfTwoGatewaysIsEnough(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	first := freeAddr(t)
	_, port, err := net.SplitHostPort(first)
	if err != nil {
		t.Fatal(err)
	}
	addrs := []string{first, net.JoinHostPort(loopback(), port)}
	gateways, metrics := make([]*collector, len(addrs)), make([]string, len(addrs))
	for i, addr := range addrs {
		gateways[i], metrics[i] = newGateway(t, sink, addr)
	}
	c := newCapture(t, settings{shipped: "loadbalanced.yaml", sink: sink, env: []string{
		"LOGCAPTURE_GATEWAYS=dns://" + newNameServer(t, "gateways.test.", addrs) + "/gateways.test:" + port,
	}})
	sink.forgetAll()
	bothTakePart := func() {
		t.Helper()
		for i, gateway := range gateways {
			eventually(t, completionLimit, "lines by way of "+addrs[i], func() string {
				text, err := gateway.get("http://" + metrics[i] + "/metrics")
				if err != nil {
					return err.Error()
				}
				if (observation{metrics: metricsOf(text, "otelcol_receiver_")}).sum("accepted_log_records", "") == 0 {
					return "none"
				}
				return ""
			})
		}
	}
	for _, i := range []int{0, 1, 0} {
		bothTakePart()
		gateways[i].kill()
		captured(t, c.lines, 1000)
		gateways[i].start()
	}
	bothTakePart()
	gateways[1].signal(syscall.SIGSTOP)
	captured(t, c.lines, 5000)
	gateways[1].signal(syscall.SIGCONT)
	c.end(t)
	t.Logf("%d of %d lines came again after 3 kills and a gateway that stood still", c.lines.forgive(), c.lines.count())
	c.lines.exact(t)
	for _, gateway := range gateways {
		gateway.stop(stopLimit)
	}
}

// newNameServer is a DNS server that has all the addresses for one name, whatever their ports. It returns where it listens.
func newNameServer(t *testing.T, name string, addrs []string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		query := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			if answer, err := resolve(query[:n], name, addrs); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

// resolve answers one query, RFC 1035.
func resolve(query []byte, name string, addrs []string) ([]byte, error) {
	var msg dnsmessage.Message
	if err := msg.Unpack(query); err != nil {
		return nil, err
	}
	msg.Header = dnsmessage.Header{ID: msg.ID, Response: true, Authoritative: true, RecursionDesired: msg.RecursionDesired}
	msg.Additionals = nil
	if question := msg.Questions[0]; question.Name.String() != name {
		msg.RCode = dnsmessage.RCodeNameError
	} else if question.Type == dnsmessage.TypeA {
		for _, addr := range addrs {
			host, _, _ := net.SplitHostPort(addr)
			msg.Answers = append(msg.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(host).To4())},
			})
		}
	}
	return msg.Pack()
}
