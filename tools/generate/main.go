// Command generate compiles a protobuf schema to Go with the pinned protocompile and
// protoc-gen-go, so that neither protoc nor a plugin has to be installed.
//
//	generate DIR FILE.proto          writes DIR/FILE.pb.go
//	generate -check DIR FILE.proto   fails where DIR/FILE.pb.go is not what it would write
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	check := flag.Bool("check", false, "compare instead of writing")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate [-check] DIR FILE.proto")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(dir, file string, check bool) error {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{ImportPaths: []string{dir}},
		SourceInfoMode: protocompile.SourceInfoStandard, // comments become Go comments
	}
	files, err := compiler.Compile(context.Background(), file)
	if err != nil {
		return fmt.Errorf("compile %s: %w", file, err)
	}
	// The descriptor goes through its bytes, so that options come in the form that the
	// plugin's own types have.
	raw, err := proto.Marshal(protoutil.ProtoFromFileDescriptor(files[0]))
	if err != nil {
		return err
	}
	var schema descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(raw, &schema); err != nil {
		return err
	}
	gen, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{file},
		Parameter:      proto.String("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{&schema},
	})
	if err != nil {
		return err
	}
	for _, f := range gen.Files {
		if f.Generate {
			internal_gengo.GenerateFile(gen, f)
		}
	}
	for _, out := range gen.Response().GetFile() {
		path := filepath.Join(dir, out.GetName())
		if !check {
			if err := os.WriteFile(path, []byte(out.GetContent()), 0o644); err != nil {
				return err
			}
			continue
		}
		have, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, []byte(out.GetContent())) {
			return fmt.Errorf("%s is not what %s generates; run: make generate", path, file)
		}
	}
	return nil
}
