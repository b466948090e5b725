package containerlogreceiver

import (
	"net/url"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

// service is the identity by which logs meet the traces of the same process.
type service struct{ name, namespace, version string }

// identify finds a container's service: what the process tells its own telemetry by its environment, else labels, else its name.
func identify(d *description) service {
	s := fromEnvironment(d.env)
	fill(&s.name, d.labels["org.opencontainers.image.title"], d.labels[swarmService], d.labels[composeService], d.name)
	fill(&s.namespace, d.labels[swarmStack], d.labels[composeProject])
	if d.labels["org.opencontainers.image.title"] != "" { // else the version is mostly that of a base image, whose labels are inherited
		fill(&s.version, d.labels["org.opencontainers.image.version"])
	}
	return s
}

// fill sets an empty target to the first value that is not.
func fill(target *string, values ...string) {
	for _, value := range values {
		if *target == "" {
			*target = value
		}
	}
}

// fromEnvironment reads the variables of the OpenTelemetry SDKs. OTEL_SERVICE_NAME comes before service.name in OTEL_RESOURCE_ATTRIBUTES.
func fromEnvironment(env []string) (s service) {
	named := ""
	for _, variable := range env {
		key, value, _ := strings.Cut(variable, "=")
		switch key {
		case "OTEL_SERVICE_NAME":
			named = value
		case "OTEL_RESOURCE_ATTRIBUTES":
			for _, pair := range strings.Split(value, ",") {
				s.set(pair)
			}
		}
	}
	if named != "" {
		s.name = named
	}
	return s
}

// set takes key=value, percent-encoded.
func (s *service) set(pair string) {
	key, value, _ := strings.Cut(pair, "=")
	value = strings.TrimSpace(value)
	if decoded, err := url.PathUnescape(value); err == nil {
		value = decoded
	}
	switch strings.TrimSpace(key) {
	case "service.name":
		s.name = value
	case "service.namespace":
		s.namespace = value
	case "service.version":
		s.version = value
	}
}

func (s service) put(m pcommon.Map) {
	for _, attribute := range [][2]string{{"service.name", s.name}, {"service.namespace", s.namespace}, {"service.version", s.version}} {
		if attribute[1] != "" {
			m.PutStr(attribute[0], attribute[1])
		}
	}
}
