// Command engine says whether a container engine answers where DOCKER_HOST and its companions point to. `make test` asks
// it first: tests that need an engine are skipped without one, and a green run must not hide that.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/docker/docker/client"
)

func main() {
	if err := ask(); err != nil {
		fmt.Fprintf(os.Stderr, "\n*** NO CONTAINER ENGINE ANSWERS: %v\n"+
			"*** The tests that need one are skipped, so container_log is NOT tested.\n\n", err)
		os.Exit(1)
	}
}

func ask() error {
	cli, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	version, err := cli.ServerVersion(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("container engine %s at %s, API %s\n", version.Version, cli.DaemonHost(), cli.ClientVersion())
	return nil
}
