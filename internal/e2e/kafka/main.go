// Command kafka is a broker for the end-to-end tests: the in-process fake of the Kafka protocol of the franz-go project, which answers as
// a broker of one node does, and keeps what it gets in memory. It is a module of its own, so that its dependencies are none of the
// receivers', and a process of its own, so that a test can stop it.
//
// It prints its address, then each value produced to the topic `logs`: four bytes of its length, big endian, and the value. It ends with
// its standard input.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "logs"),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": "4194304"})) // what kafka.yaml asks for
	if err != nil {
		return err
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("logs"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintln(out, cluster.ListenAddrs()[0])
	for {
		if err := out.Flush(); err != nil {
			return err
		}
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var size [4]byte
			binary.BigEndian.PutUint32(size[:], uint32(len(r.Value)))
			_, _ = out.Write(size[:]) // an error comes again from Flush
			_, _ = out.Write(r.Value)
		})
	}
}
