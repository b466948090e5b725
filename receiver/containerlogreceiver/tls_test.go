package containerlogreceiver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Row 50 with a real engine: it asks for a certificate and shows one, comes and goes, and gives lines so fast that connections are calm.
func TestRealEngineBehindTLS(t *testing.T) {
	engine := newTLSEngine(t)
	engine.serve(newAuthority(t))
	certs := t.TempDir()
	engine.trusted.write(certs, x509.ExtKeyUsageClientAuth)
	rigs := map[string]*rig{
		"key":         newRig(t, func(c *Config) { c.Endpoint, c.TLS = engine.endpoint, clientFiles(certs) }),
		"environment": newRig(t, nil),
	}
	t.Setenv("DOCKER_HOST", engine.endpoint)
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	t.Setenv("DOCKER_CERT_PATH", certs)
	for _, r := range rigs {
		r.start()
		awaitUp(r)
	}
	steady := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: engine.Client(), Steps: []script.Step{
		script.Lines{Stream: script.Both, PerSecond: 100, Resume: true}, script.Wait{Signal: "TERM"},
	}})
	burst := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: engine.Client(), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 20_000, Length: 200}, script.Lines{Count: 1, Length: 100_000},
	}})
	for i, end := range []func(){engine.Stop, engine.Kill} {
		for _, r := range rigs {
			r.awaitLines(steady.ID, 200*(i+1))
		}
		end()
		for _, r := range rigs {
			awaitTrouble(r, "Cannot connect to the Docker daemon")
		}
		engine.Start()
		for _, r := range rigs {
			awaitUp(r)
		}
	}
	for _, r := range rigs {
		r.awaitLines(steady.ID, 600)
	}
	steady.Stop(10)
	for _, r := range rigs {
		r.requireExact(steady)
		r.requireExact(burst)
		require.Zero(t, r.metric("logcapture_gaps"))
		r.stop()
	}
}

// Row 50: who does not trust the other says so. The first two are put right at the engine, and the receiver notices by itself; the
// others at the receiver, where a start reads the certificates.
func TestRealEngineBehindTLSOfWhichOneDistrustsTheOther(t *testing.T) {
	t.Parallel()
	before, after := newAuthority(t), newAuthority(t)
	for name, tt := range map[string]struct {
		client func(dir string) *configtls.ClientConfig
		says   string
		repair *authority // of the engine; nil: of the receiver
	}{
		"authority of the engine": {func(dir string) *configtls.ClientConfig {
			after.write(dir, x509.ExtKeyUsageClientAuth)
			return clientFiles(dir)
		}, "certificate signed by unknown authority", after},
		"authority of the receiver": {func(dir string) *configtls.ClientConfig {
			after.write(dir, x509.ExtKeyUsageClientAuth)
			config := clientFiles(dir)
			config.InsecureSkipVerify = true
			return config
		}, "remote error: tls: ", after},
		"no certificate of the receiver": {func(dir string) *configtls.ClientConfig {
			before.write(dir, x509.ExtKeyUsageClientAuth)
			config := clientFiles(dir)
			config.CertFile, config.KeyFile = "", ""
			return config
		}, "remote error: tls: ", nil},
		"no TLS": {func(string) *configtls.ClientConfig { return nil }, "HTTP request to an HTTPS server", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := newTLSEngine(t)
			engine.serve(before)
			dir := t.TempDir()
			r := newRig(t, func(c *Config) { c.Endpoint, c.TLS = engine.endpoint, tt.client(dir) })
			r.start()
			awaitTrouble(r, tt.says)
			c := dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Steps: []script.Step{script.Lines{Stream: script.Both, Count: 100}}})
			c.WaitExit(patience) // of one that ends while its engine is away, the engine drops what it had not read
			if tt.repair != nil {
				engine.Stop()
				engine.serve(tt.repair)
				waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusOK })
			} else {
				r.stop()
				engine.trusted.write(dir, x509.ExtKeyUsageClientAuth)
				r.config.TLS = clientFiles(dir)
				r.start()
			}
			r.awaitLines(c.ID, 200)
			r.requireExact(c)
			r.stop()
		})
	}
}

// awaitTrouble waits until the status is one that can pass, with this reason.
func awaitTrouble(r *rig, says string) {
	r.t.Helper()
	waitFor(r.t, "status with "+says, func() bool {
		last := r.host.Last()
		return last.Status() == componentstatus.StatusRecoverableError && strings.Contains(last.Err().Error(), says)
	})
}

// tlsEngine is an engine that asks its clients for a certificate.
type tlsEngine struct {
	*dockertest.Engine
	endpoint string
	address  net.IP
	dir      string     // of its certificates
	trusted  *authority // by both sides
}

// newTLSEngine prepares one; its containers survive it.
func newTLSEngine(t *testing.T) *tlsEngine {
	t.Helper()
	address := loopbackAddress()
	e := &tlsEngine{endpoint: "tcp://" + address.String(), address: address.IP, dir: t.TempDir()}
	e.Engine = dockertest.NewEngine(t, dockertest.EngineSettings{LiveRestore: true, Args: []string{
		"--host", e.endpoint, "--tlsverify", "--tlscacert", filepath.Join(e.dir, "ca.pem"),
		"--tlscert", filepath.Join(e.dir, "cert.pem"), "--tlskey", filepath.Join(e.dir, "key.pem"),
	}})
	return e
}

// serve starts the engine with certificates of the authority.
func (e *tlsEngine) serve(a *authority) {
	e.trusted = a
	a.write(e.dir, x509.ExtKeyUsageServerAuth, e.address)
	e.Start()
}

// loopbackAddress makes up an address of this host that nobody else takes while its server is away.
func loopbackAddress() *net.TCPAddr {
	b := make([]byte, 3)
	_, _ = rand.Read(b)
	return &net.TCPAddr{IP: net.IPv4(127, b[0]|1, b[1], b[2]|1), Port: 20_000} // a port below those that the system gives away
}

// clientFiles is the tls key with the certificates of a directory.
func clientFiles(dir string) *configtls.ClientConfig {
	return &configtls.ClientConfig{Config: configtls.Config{
		CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
	}}
}

// authority issues certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: t.Name()}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.certificate.Raw, err = x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, a.key.Public(), a.key)
	require.NoError(t, err)
	return a
}

// write makes a certificate and puts it into a directory, with the names that Docker gives such files.
func (a *authority) write(dir string, use x509.ExtKeyUsage, addresses ...net.IP) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{use}, IPAddresses: addresses,
	}, a.certificate, key.Public(), a.key)
	require.NoError(a.t, err)
	writeFiles(a.t, dir, map[string][]byte{
		"ca.pem":   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}),
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	})
}
