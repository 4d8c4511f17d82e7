// charts renders a Helm chart and checks what it rendered, with Helm's own loader, values schema,
// template engine and linter, and Kubernetes' own types, but none of the client that would install
// it: so it is small to build.
//
//	charts template CHART RELEASE [VALUES.yaml]   prints the objects, hooks included, then NOTES.txt
//	charts lint CHART [VALUES.yaml]
//	charts check <OBJECTS.yaml                    decodes each object strictly into its type
//
// What is wrong is one line each on standard error, and exit code 1.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 3 && args[0] == "template":
		return template(args[1], args[2], args[3:])
	case len(args) >= 2 && args[0] == "lint":
		return lintChart(args[1], args[2:])
	case len(args) == 1 && args[0] == "check":
		return check(os.Stdin)
	}
	return errors.New("usage: charts template CHART RELEASE [VALUES] | lint CHART [VALUES] | check")
}

func template(folder, release string, files []string) error {
	chart, err := loader.Load(folder)
	if err != nil {
		return err
	}
	values, err := read(files)
	if err != nil {
		return err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: "default", Revision: 1, IsInstall: true}
	// ToRenderValues also validates against values.schema.json.
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.30.0", Major: "1", Minor: "30"}
	if chart.Metadata.KubeVersion != "" &&
		!chartutil.IsCompatibleRange(chart.Metadata.KubeVersion, capabilities.KubeVersion.Version) {
		return fmt.Errorf("the chart refuses Kubernetes %s", capabilities.KubeVersion.Version)
	}
	all, err := chartutil.ToRenderValues(chart, values, options, capabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Engine{}.Render(chart, all)
	if err != nil {
		return err
	}
	var names []string
	notes := ""
	for name, text := range rendered {
		if path.Base(name) == "NOTES.txt" {
			notes = text
		} else if !strings.HasPrefix(path.Base(name), "_") && strings.TrimSpace(text) != "" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Printf("---\n# Source: %s\n%s\n", name, strings.TrimSpace(rendered[name]))
	}
	fmt.Printf("# NOTES.txt\n# %s\n", strings.ReplaceAll(strings.TrimSpace(notes), "\n", "\n# "))
	return nil
}

func lintChart(folder string, files []string) error {
	values, err := read(files)
	if err != nil {
		return err
	}
	linted := lint.All(folder, values, "default", true)
	var found []string
	for _, message := range linted.Messages {
		if message.Severity > support.InfoSev {
			found = append(found, message.Error())
		}
	}
	if len(found) > 0 {
		return errors.New(strings.Join(found, "\n"))
	}
	return nil
}

// check is what the API server does first with an object: an unknown kind, a field that the type
// doesn't have or that is given twice, and a value of a wrong type are errors.
func check(objects io.Reader) error {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(objects))
	var found []error
	for number := 1; ; number++ {
		document, err := documents.Read()
		if err == io.EOF {
			return errors.Join(found...)
		}
		if err != nil {
			return err
		}
		if _, _, err = decoder.Decode(document, nil, nil); err != nil {
			found = append(found, fmt.Errorf("document %d: %w", number, err))
		}
	}
}

func read(files []string) (map[string]any, error) {
	values := map[string]any{}
	for _, file := range files {
		more, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return nil, err
		}
		values = chartutil.CoalesceTables(more, values)
	}
	return values, nil
}
