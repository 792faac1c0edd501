// Command hook-tool is every Juju hook tool in one: the name it is called by says which.
//
// It sends its arguments to the sandbox's server over a unix socket, prints what comes back and
// exits with the code it is given. Files that an argument names (`key#file=PATH`, `--file PATH`)
// are read here, since only this side sees the charm's file system.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// request is what the server is asked; one line of JSON.
type request struct {
	Context string            `json:"context"`
	Tool    string            `json:"tool"`
	Args    []string          `json:"args"`
	Files   map[string]string `json:"files"`
}

// answer is what the server says; one line of JSON.
type answer struct {
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Code   int    `json:"code"`
}

func main() {
	reply, err := ask(filepath.Base(os.Args[0]), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "ERROR", err)
		os.Exit(1)
	}
	fmt.Print(reply.Stdout)
	fmt.Fprint(os.Stderr, reply.Stderr)
	os.Exit(reply.Code)
}

func ask(tool string, args []string) (answer, error) {
	var reply answer
	files, err := named(args)
	if err != nil {
		return reply, err
	}
	connection, err := net.Dial("unix", os.Getenv("JUJU_AGENT_SOCKET_ADDRESS"))
	if err != nil {
		return reply, err
	}
	defer connection.Close()
	question := request{os.Getenv("JUJU_CONTEXT_ID"), tool, args, files}
	if err = json.NewEncoder(connection).Encode(question); err != nil {
		return reply, err
	}
	err = json.NewDecoder(connection).Decode(&reply)
	return reply, err
}

// named reads every file the arguments name; `-` is the standard input.
func named(args []string) (map[string]string, error) {
	files := map[string]string{}
	for i, argument := range args {
		path, found := "", false
		if _, path, found = strings.Cut(argument, "#file="); !found {
			path, found = strings.CutPrefix(argument, "--file=")
		}
		if !found && i > 0 && args[i-1] == "--file" {
			path, found = argument, true
		}
		if !found {
			continue
		}
		content, err := read(path)
		if err != nil {
			return nil, err
		}
		files[path] = string(content)
	}
	return files, nil
}

func read(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(path)
}
