// Two processes: one offers memory, the other writes into it, reads it back, and says so.
//
//	transfer_pair target [ADDRESS]       offers memory and waits; ADDRESS to listen on, 127.0.0.1 unless told
//	transfer_pair initiator HOST:PORT    writes, reads, compares, notifies
//	transfer_pair                        both, in two processes
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"mooncake.dev/go"
)

const (
	size     = 16 << 20
	patience = 30 * time.Second
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	switch arguments := append(os.Args[1:], ""); {
	case len(os.Args) == 1:
		err = both(ctx)
	case arguments[0] == "target" && len(os.Args) <= 3:
		err = target(ctx, arguments[1])
	case arguments[0] == "initiator" && len(os.Args) == 3:
		err = initiator(ctx, arguments[1])
	default:
		fmt.Fprintln(os.Stderr, "usage: transfer_pair [target [ADDRESS] | initiator HOST:PORT]")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "failed:", err)
		os.Exit(1)
	}
}

// engineWithMemory makes both; closing the engine ends both.
func engineWithMemory(options *mooncake.Options) (*mooncake.Engine, *mooncake.Allocation, error) {
	engine, err := mooncake.New(options)
	if err != nil {
		return nil, nil, err
	}
	memory, err := engine.Allocate(size, nil)
	if err != nil {
		engine.Close()
	}
	return engine, memory, err
}

func target(ctx context.Context, address string) error {
	if address == "" {
		address = "127.0.0.1"
	}
	engine, memory, err := engineWithMemory(&mooncake.Options{BindAddress: address})
	if err != nil {
		return err
	}
	defer engine.Close()
	info, err := engine.Info()
	if err != nil {
		return err
	}
	fmt.Printf("target: %s offers %d MiB at %#x\n", info.Address, size>>20, memory.Address())

	notification, err := engine.ReceiveTag(ctx, "written")
	if err != nil {
		return err
	}
	fmt.Printf("target: %s says %q\n", notification.Sender, notification.Data)
	if err := checkPattern(memory.Bytes()); err != nil {
		return err
	}
	fmt.Println("target: every byte is as it was written")
	return nil
}

func initiator(ctx context.Context, address string) error {
	engine, memory, err := engineWithMemory(&mooncake.Options{NoListen: true})
	if err != nil {
		return err
	}
	defer engine.Close()
	peer, err := engine.Open(ctx, address)
	if err != nil {
		return err
	}
	regions, err := peer.Regions()
	if err != nil {
		return err
	}
	if len(regions) == 0 || regions[0].Length < size {
		return fmt.Errorf("%s does not offer %d MiB", address, size>>20)
	}
	request := mooncake.Request{Op: mooncake.Write, Segment: peer, Remote: regions[0].Address, Local: memory.Bytes()}
	fmt.Printf("initiator: writes to %#x by %s\n", request.Remote, regions[0].Path)

	for i := range request.Local {
		request.Local[i] = pattern(i)
	}
	if err := engine.Transfer(ctx, []mooncake.Request{request}, nil); err != nil {
		return err
	}
	clear(request.Local)
	request.Op = mooncake.Read
	if err := engine.Transfer(ctx, []mooncake.Request{request}, nil); err != nil {
		return err
	}
	if err := checkPattern(request.Local); err != nil {
		return err
	}
	fmt.Println("initiator: read back what it wrote")
	return peer.Notify(ctx, "written", []byte("look at your memory"))
}

// both starts this program again as the target and is the initiator itself.
func both(ctx context.Context) error {
	child := exec.CommandContext(ctx, "/proc/self/exe", "target")
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	defer child.Process.Kill()
	lines := bufio.NewScanner(output)
	var address string
	if lines.Scan() {
		fmt.Println(lines.Text())
		fmt.Sscanf(lines.Text(), "target: %s", &address)
	}
	if address == "" {
		return fmt.Errorf("the target did not start")
	}
	if err := initiator(ctx, address); err != nil {
		return err
	}
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	if err := child.Wait(); err != nil {
		return fmt.Errorf("the target failed: %w", err)
	}
	fmt.Println("verified at both ends")
	return nil
}

func pattern(i int) byte { return byte(i*31 + i>>12) }

func checkPattern(memory []byte) error {
	for i, b := range memory {
		if b != pattern(i) {
			return fmt.Errorf("byte %d is %d, not %d", i, b, pattern(i))
		}
	}
	return nil
}
