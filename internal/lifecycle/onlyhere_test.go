package lifecycle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestGoroutinesStartOnlyHere parses every non-test file of the module and fails on anything that starts a goroutine elsewhere.
func TestGoroutinesStartOnlyHere(t *testing.T) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	fset := token.NewFileSet()
	files := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipForeign(root, path)
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Dir(path) == filepath.Join(root, "internal", "lifecycle") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		for _, found := range goroutineStarts(file) {
			t.Errorf("%s starts a goroutine; use lifecycle.Group", fset.Position(found.Pos()))
		}
		return nil
	})
	require.NoError(t, err)
	require.NotZero(t, files)
}

// skipForeign leaves out what is not of this module: hidden and build folders, and folders with a go.mod of their own.
func skipForeign(root, path string) error {
	name := filepath.Base(path)
	if path == root {
		return nil
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "data" {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func goroutineStarts(file *ast.File) []ast.Node {
	var found []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, n)
		case *ast.ImportSpec:
			if strings.Contains(n.Path.Value, "errgroup") {
				found = append(found, n)
			}
		case *ast.SelectorExpr:
			pkg, ok := n.X.(*ast.Ident)
			if ok && startsGoroutine[pkg.Name+"."+n.Sel.Name] {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

var startsGoroutine = map[string]bool{"sync.WaitGroup": true, "time.AfterFunc": true, "context.AfterFunc": true}

func TestGoroutineStartsAreFound(t *testing.T) {
	const source = `package p
import ("context"; "sync"; "time"; "golang.org/x/sync/errgroup")
var wg sync.WaitGroup
var g errgroup.Group
func f() {
	go f()
	wg.Go(f)
	time.AfterFunc(0, f)
	context.AfterFunc(nil, f)
}`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	require.NoError(t, err)
	require.Len(t, goroutineStarts(file), 5)
}
