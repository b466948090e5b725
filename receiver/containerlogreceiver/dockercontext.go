package containerlogreceiver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/go-connections/tlsconfig"
)

// cliDirectory is where the Docker CLI keeps its configuration.
func cliDirectory() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "/" // a service without a home has none
	}
	return filepath.Join(home, ".docker")
}

// fromContext returns the address in the context that the Docker CLI would use: the one that DOCKER_CONTEXT names, else the one chosen by
// docker context use. ok is false for the default context, which has no address of its own.
func fromContext() (a address, ok bool, err error) {
	dir := cliDirectory()
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		if name, err = chosenContext(dir); err != nil {
			return address{}, false, err
		}
	}
	if name == "" || name == "default" {
		return address{}, false, nil
	}
	a, err = readContext(dir, name)
	if err != nil {
		return address{}, false, fmt.Errorf("docker context %q: %w", name, err)
	}
	return a, true, nil
}

func chosenContext(dir string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var config struct {
		CurrentContext string `json:"currentContext"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return "", fmt.Errorf("%s: %w", filepath.Join(dir, "config.json"), err)
	}
	return config.CurrentContext, nil
}

func readContext(dir, name string) (address, error) {
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	content, err := os.ReadFile(filepath.Join(dir, "contexts", "meta", id, "meta.json"))
	if err != nil {
		return address{}, err
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(content, &meta); err != nil {
		return address{}, err
	}
	endpoint := meta.Endpoints["docker"]
	a := address{host: endpoint.Host}
	if err := checkEndpoint(a.host); err != nil {
		return address{}, err
	}
	files := filepath.Join(dir, "contexts", "tls", id, "docker")
	if _, err := os.Stat(files); err != nil {
		return a, nil // has no TLS
	}
	options := tlsconfig.Options{InsecureSkipVerify: endpoint.SkipTLSVerify, ExclusiveRootPools: true}
	if path := filepath.Join(files, "ca.pem"); exists(path) {
		options.CAFile = path
	}
	takeKey(&options, files)
	a.tls, err = tlsconfig.Client(options)
	return a, err
}

// takeKey takes the client's certificate and key of a directory, where they are.
func takeKey(options *tlsconfig.Options, directory string) {
	for file, target := range map[string]*string{"cert.pem": &options.CertFile, "key.pem": &options.KeyFile} {
		if path := filepath.Join(directory, file); exists(path) {
			*target = path
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
