package containerlogreceiver

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/client"
	"github.com/docker/go-connections/tlsconfig"
	"go.opentelemetry.io/collector/config/configtls"
)

// address is where the engine is.
type address struct {
	host    string // with scheme
	version string // of the API, empty: negotiated
	tls     *tls.Config
}

var schemes = []string{"unix", "tcp", "http", "https", "npipe", "ssh"}

func checkEndpoint(endpoint string) error {
	if _, err := client.ParseHostURL(endpoint); err != nil {
		return fmt.Errorf("%q is no address of an engine such as unix:///var/run/docker.sock", endpoint)
	}
	if scheme, _, _ := strings.Cut(endpoint, "://"); !slices.Contains(schemes, scheme) {
		return fmt.Errorf("%q: the scheme has to be one of %s", endpoint, strings.Join(schemes, ", "))
	}
	if strings.HasPrefix(endpoint, "ssh://") {
		_, err := sshArguments(endpoint)
		return err
	}
	return nil
}

func (a address) scheme() string {
	scheme, _, _ := strings.Cut(a.host, "://")
	return scheme
}

func (a address) path() string {
	_, path, _ := strings.Cut(a.host, "://")
	return path
}

// api returns what the client takes for the address: through ssh, any.
func (a address) api() string {
	if a.scheme() == "ssh" {
		return "http://docker.example.com"
	}
	return a.host
}

// local says that the engine's clock is ours.
func (a address) local() bool { return a.scheme() == "unix" || a.scheme() == "npipe" }

// takesTLS says that the tls key has a meaning for the address.
func (a address) takesTLS() bool { return a.scheme() == "tcp" || a.scheme() == "https" }

// resolve returns the engine's address by the rules of the Docker CLI. A configured endpoint and the tls key come first.
func resolve(ctx context.Context, config *Config) (address, error) {
	a := address{host: config.Endpoint}
	if a.host == "" {
		var err error
		if a, err = fromEnvironmentOrContext(); err != nil {
			return address{}, err
		}
	}
	a.version = strings.TrimPrefix(os.Getenv(client.EnvOverrideAPIVersion), "v")
	err := a.secure(ctx, config.TLS)
	return a, err
}

// fromEnvironmentOrContext returns the address that the Docker CLI would use.
func fromEnvironmentOrContext() (address, error) {
	a := address{host: os.Getenv(client.EnvOverrideHost)}
	if a.host == "" {
		named, ok, err := fromContext()
		if ok || err != nil {
			return named, err
		}
		a.host = client.DefaultDockerHost
	}
	if err := checkEndpoint(a.host); err != nil {
		return address{}, fmt.Errorf("%s: %w", client.EnvOverrideHost, err)
	}
	verify, dir := os.Getenv(client.EnvTLSVerify) != "", os.Getenv(client.EnvOverrideCertPath)
	named := dir != ""
	if !named && verify {
		dir = cliDirectory()
	}
	if dir == "" || a.local() {
		return a, nil
	}
	options := tlsconfig.Options{CAFile: filepath.Join(dir, "ca.pem"), InsecureSkipVerify: !verify}
	if named { // all of them have to be there
		options.CertFile, options.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	} else {
		takeKey(&options, dir)
	}
	var err error
	if a.tls, err = tlsconfig.Client(options); err != nil {
		return address{}, fmt.Errorf("%s: %w", client.EnvOverrideCertPath, err)
	}
	return a, nil
}

// secure applies the tls key.
func (a *address) secure(ctx context.Context, config *configtls.ClientConfig) (err error) {
	switch {
	case config != nil && a.takesTLS():
		if a.tls, err = config.LoadTLSConfig(ctx); err != nil {
			return fmt.Errorf("`tls`: %w", err)
		}
	case a.scheme() == "https" && a.tls == nil:
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return nil
}
