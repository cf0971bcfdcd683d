// SPDX-License-Identifier: GPL-2.0-only

// A server, and clients of another one that runs elsewhere, with signals, children and a nil pointer.
// Its arguments are its own address and the other's; without it is a client of its own.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

func main() {
	own := "127.0.0.1:0"
	if len(os.Args) > 1 {
		own = os.Args[1] + ":80"
	}
	l, err := net.Listen("tcp", own)
	if err != nil {
		panic(err)
	}
	other := l.Addr().String()
	if len(os.Args) > 2 {
		other = os.Args[2]
	}
	var served sync.WaitGroup
	served.Add(200)
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s", r.URL.Path)
		served.Done()
	})}
	go server.Serve(l)
	var wg sync.WaitGroup
	for i := 0; i < 200; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			r, err := http.Get(fmt.Sprintf("http://%s/%d", other, i))
			for ; err != nil; r, err = http.Get(fmt.Sprintf("http://%s/%d", other, i)) {
				time.Sleep(50 * time.Millisecond)
			}
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if string(b) != fmt.Sprintf("hello /%d", i) {
				panic(string(b))
			}
		}(i)
	}
	wg.Wait()
	served.Wait()
	server.Shutdown(context.Background())
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-c)
	o, err := exec.Command("echo", "child").Output()
	fmt.Print(string(o), err, "\n")
	// preemption
	done := make(chan int)
	go func() {
		x := 0
		for {
			x++
			select {
			case <-done:
				return
			default:
			}
		}
	}()
	for i := 0; i < 50; i++ {
		time.Sleep(time.Millisecond)
		runtime.GC()
	}
	close(done)
	var p *int
	func() { defer func() { fmt.Println("recovered", recover()) }(); *p = 1 }()
	fmt.Println("ok")
}
