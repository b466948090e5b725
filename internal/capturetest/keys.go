package capturetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

// Keys returns the YAML keys of a configuration, those of squashed structs included.
func Keys(config reflect.Type) (all []string) {
	for i := range config.NumField() {
		field := config.Field(i)
		switch tag := field.Tag.Get("mapstructure"); tag {
		case "":
		case ",squash":
			all = append(all, Keys(field.Type)...)
		default:
			all = append(all, tag)
		}
	}
	return all
}

// RequireKeys fails where the README of the package under test lacks a key of the configuration, or the key has no test: it is none of those
// that are tested by their effect, and no test of the package has the name that elsewhere gives it.
func RequireKeys(t *testing.T, config reflect.Type, tested map[string]bool, elsewhere map[string]string) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	functions := map[string]bool{}
	for _, f := range TestFunctions(t) {
		functions[f.Name.Name] = true
	}
	for _, key := range Keys(config) {
		require.Contains(t, string(readme), "`"+key, "the README does not have it")
		if name, ok := elsewhere[key]; ok {
			require.True(t, functions[name], "%s has no test %s", key, name)
		} else {
			require.True(t, tested[key], "%s has no test", key)
		}
	}
}

// TestFunctions returns the functions in the test files of the package under test.
func TestFunctions(t *testing.T) (all []*ast.FuncDecl) {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				all = append(all, f)
			}
		}
	}
	return all
}
