// SPDX-License-Identifier: GPL-2.0-only

// A server and its clients in one program, with signals, children and a nil pointer.
package main

import (
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
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Path) }))
	var wg sync.WaitGroup
	for i := 0; i < 200; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			r, err := http.Get(fmt.Sprintf("http://%s/%d", l.Addr(), i))
			if err != nil {
				panic(err)
			}
			b, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if string(b) != fmt.Sprintf("hello /%d", i) {
				panic(string(b))
			}
		}(i)
	}
	wg.Wait()
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
