package dockertest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/client"
)

// Repository is the name of the images, without tag.
const Repository = "logcapture-dockertest"

// Image returns the reference of the image with the log writer on the engine of Client, and builds it where it is not
// there yet. The tag is the hash of the program: tests of several packages share one image, and a changed program gets
// a new one. The image stays for the next run.
func Image(t testing.TB) string {
	t.Helper()
	return imageOn(t, Client(t))
}

// images remembers per engine what imageOn found, to spare each test the go command.
var images struct {
	sync.Mutex
	byHost map[string]string
}

func imageOn(t testing.TB, cli *client.Client) string {
	t.Helper()
	images.Lock()
	defer images.Unlock()
	if ref, ok := images.byHost[cli.DaemonHost()]; ok {
		return ref
	}
	ref := BuildImage(t, cli, "/logwriter", map[string]string{"logwriter": Build(t, "internal/dockertest/logwriter")})
	if images.byHost == nil {
		images.byHost = make(map[string]string)
	}
	images.byHost[cli.DaemonHost()] = ref
	return ref
}

// Build compiles a main package of the module (path relative to its root) into a static Linux program and returns its path.
// The go command's cache makes this a matter of a second after the first time.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	target := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", target, "./"+pkg)
	cmd.Dir = filepath.Dir(string(bytes.TrimSpace(gomod)))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return target
}

// BuildImage returns the reference of a FROM scratch image that holds the files (name in the root folder → path here)
// and runs the entrypoint, and builds it where the engine does not have it yet.
func BuildImage(t testing.TB, cli *client.Client, entrypoint string, files map[string]string) string {
	t.Helper()
	var content bytes.Buffer
	if err := writeBuildContext(&content, entrypoint, files); err != nil {
		t.Fatalf("write build context: %v", err)
	}
	hash := sha256.Sum256(content.Bytes())
	ref := Repository + ":" + hex.EncodeToString(hash[:8])

	// Two builds at a time would both be right, but leave an image without a name.
	held, err := os.OpenFile(filepath.Join(os.TempDir(), Repository+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("open image lock: %v", err)
	}
	defer held.Close()
	if err := lock(held); err != nil {
		t.Fatalf("lock image: %v", err)
	}
	ctx, cancel := callContext(t)
	defer cancel()
	_, err = cli.ImageInspect(ctx, ref)
	if err == nil {
		return ref
	}
	if !errdefs.IsNotFound(err) {
		t.Fatalf("inspect image %s: %v", ref, err)
	}
	answer, err := cli.ImageBuild(ctx, &content, build.ImageBuildOptions{
		Tags: []string{ref}, Version: build.BuilderV1, Remove: true, NetworkMode: "none",
	})
	if err != nil {
		t.Fatalf("build image %s: %v", ref, err)
	}
	defer answer.Body.Close()
	if err := buildError(answer.Body); err != nil {
		t.Fatalf("build image %s: %v", ref, err)
	}
	return ref
}

func writeBuildContext(w io.Writer, entrypoint string, files map[string]string) error {
	dockerfile := fmt.Sprintf("FROM scratch\nCOPY . /\nENTRYPOINT [%q]\n", entrypoint)
	archive := tar.NewWriter(w)
	add := func(name string, mode int64, content []byte) error {
		// No times and owners: the bytes, and with them the tag, depend on the content alone.
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	if err := add("Dockerfile", 0o644, []byte(dockerfile)); err != nil {
		return err
	}
	if err := add(".dockerignore", 0o644, []byte("Dockerfile\n.dockerignore\n")); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(files[name])
		if err != nil {
			return err
		}
		if err := add(name, 0o755, content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// buildError reads the progress messages to the end: the engine reports a failed build in them.
func buildError(messages io.Reader) error {
	decoder := json.NewDecoder(messages)
	for {
		var message struct {
			Error string `json:"error"`
		}
		if err := decoder.Decode(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if message.Error != "" {
			return errors.New(message.Error)
		}
	}
}
