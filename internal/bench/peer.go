package main

import (
	"maps"
	"path/filepath"
)

// Peers that the tables compare with.
const (
	fileLog       = "file_log"
	fileTail      = "file_tail"
	floorRecord   = "floor"
	floorResource = "floor, resource"
	pooled        = ", pooled"
	oneCore       = ", 1 core"
	twoCores      = ", 2 cores"
)

// peer is one way to read files.
type peer struct {
	name  string
	about string
	floor string // the floor's variant; empty for a collector
	env   []string
	gates string // feature gates that are switched on
	// processes of the floor that share the files; 0 is one.
	processes int
	// settings of the receiver, beside what all have.
	component string
	settings  map[string]any
	formats   map[string]map[string]any // by format of the lines
	// processor that does what the receiver cannot, by format of the lines.
	processors map[string]map[string]any
}

// receiver is the receiver's configuration. What is not about its format is the same for all.
func (p peer) receiver(d *data, root string) map[string]any {
	config := map[string]any{
		"include":          []string{filepath.Join(root, d.folder(), "*.log")},
		"start_at":         "beginning",
		"storage":          "file_storage",
		"retry_on_failure": map[string]any{"enabled": true, "max_elapsed_time": 0},
	}
	maps.Copy(config, p.settings)
	maps.Copy(config, p.formats[d.format])
	return map[string]any{p.component: config}
}

// pipeline is the receiver and what the format asks for behind it.
func (p peer) pipeline(d *data, root string, exporter map[string]any) pipeline {
	return pipeline{receiver: p.receiver(d, root), processor: p.processors[d.format], exporter: exporter}
}

// peers are the ways that are compared.
func peers() map[string]peer {
	contrib := peer{
		name: fileLog, component: "file_log",
		about: "contrib's file_log 0.160: polls every 200 ms, batches of 100 handed on asynchronously (its defaults); container operator told the format, Kubernetes attributes from the path (its default); JSON is parsed by its json_parser",
		formats: map[string]map[string]any{
			formatCRI:    operators(containerOperator("containerd", true)),
			formatDocker: operators(containerOperator("docker", true)),
			formatJSON:   operators(containerOperator("containerd", true), map[string]any{"type": "json_parser"}),
		},
	}
	bare := contrib
	bare.name = fileLog + ", no pod"
	bare.about = "file_log without the Kubernetes attributes, which the others have"
	bare.formats = map[string]map[string]any{
		formatCRI: operators(containerOperator("containerd", false)), formatDocker: operators(containerOperator("docker", false)),
	}
	transformed := contrib
	transformed.name = fileLog + ", transform"
	transformed.about = "file_log with the transform processor in place of its json_parser, as file_tail has it"
	transformed.formats = map[string]map[string]any{formatJSON: contrib.formats[formatCRI]}
	transformed.processors = map[string]map[string]any{formatJSON: parseJSON()}
	ours := peer{
		name: fileTail, component: "file_tail",
		about: "file_tail with the file's attributes on every record, as file_log has them; JSON is parsed by the transform processor",
		formats: map[string]map[string]any{
			formatCRI:    {"format": "cri", "include_file_path": true},
			formatDocker: {"format": "docker", "include_file_path": true},
			formatJSON:   {"format": "cri", "include_file_path": true},
		},
		processors: map[string]map[string]any{formatJSON: parseJSON()},
	}
	onResource := ours
	onResource.name = fileTail + ", resource"
	onResource.about = "file_tail with the file's attributes on the resource"
	onResource.settings = map[string]any{"file_attributes_on": "resource"}
	skipping := contrib
	skipping.name = fileLog + ", skip"
	skipping.about = "file_log with skip_unmodified_files, which trusts modification times"
	skipping.settings = map[string]any{"skip_unmodified_files": true}
	logPooled, tailPooled, resourcePooled := contrib, ours, onResource
	for _, p := range []*peer{&logPooled, &tailPooled, &resourcePooled} {
		p.about = p.name + " with the collector's feature gate pdata.useProtoPooling (alpha): records are used again after delivery"
		p.name += pooled
		p.gates = "pdata.useProtoPooling"
	}
	tailOne, tailTwo := ours, ours
	tailOne.name, tailOne.env = fileTail+oneCore, []string{"GOMAXPROCS=1"}
	tailTwo.name, tailTwo.env = fileTail+twoCores, []string{"GOMAXPROCS=2"}
	tailOne.about, tailTwo.about = "file_tail with GOMAXPROCS=1", "file_tail with GOMAXPROCS=2"
	all := make(map[string]peer)
	for _, p := range []peer{
		contrib, bare, transformed, ours, onResource, skipping, tailOne, tailTwo, logPooled, tailPooled, resourcePooled,
		{name: floorRecord, floor: "record", about: "the floor: log.file.name and an own string on every record; 1 core"},
		{name: floorRecord + twoCores, floor: "record", processes: 2, about: "the same as two processes, each with half of the files: they share nothing, and are as much faster than one as the machine lets them be"},
		{name: floorResource, floor: "resource", about: "the floor: log.file.name on the resource, bodies share a string per block; 1 core"},
	} {
		all[p.name] = p
	}
	return all
}

// containerOperator is how file_log reads logs of containers.
func containerOperator(format string, pod bool) map[string]any {
	return map[string]any{"type": "container", "format": format, "add_metadata_from_filepath": pod}
}

// operators are settings of file_log. The Kubernetes attributes, where its container operator adds them, want the path on the record.
func operators(container map[string]any, more ...map[string]any) map[string]any {
	return map[string]any{
		"include_file_path": container["add_metadata_from_filepath"],
		"operators":         append([]map[string]any{container}, more...),
	}
}

// parseJSON is a processor that makes attributes of the members of a JSON object, as file_log's json_parser does.
func parseJSON() map[string]any {
	return map[string]any{"transform": map[string]any{"log_statements": []any{
		map[string]any{"context": "log", "statements": []string{`merge_maps(log.attributes, ParseJSON(log.body), "upsert")`}},
	}}}
}

// exporters of a shape's output.
const (
	outputNop  = "nop"
	outputOTLP = "otlp"
	outputGzip = "otlp, gzip"
)

func exporter(output, address string) map[string]any {
	if output == outputNop {
		return map[string]any{"nop": nil}
	}
	compression := "none"
	if output == outputGzip {
		compression = "gzip"
	}
	return map[string]any{"otlp_grpc": map[string]any{
		"endpoint":    address,
		"compression": compression,
		"timeout":     "60s",
		"tls":         map[string]any{"insecure": true},
		// Records are acknowledged by the sink, not by a queue.
		"sending_queue":    map[string]any{"enabled": false},
		"retry_on_failure": map[string]any{"enabled": false},
	}}
}
