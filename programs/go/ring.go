// N goroutines in a ring that pass on one message. The message counts how often it was passed on.
package main

import (
	"fmt"
	"time"
)

// pass passes on each message until its channel is closed.
func pass(from <-chan int, to chan<- int) {
	for passed := range from {
		to <- passed + 1
	}
	close(to)
}

// lead sends the message, checks the time each time it arrives, and returns when the others have ended.
func lead(from <-chan int, to chan<- int, duration time.Duration) {
	begun := time.Now()
	to <- 1
	passed := <-from
	for time.Since(begun) < duration {
		to <- passed + 1
		passed = <-from
	}
	fmt.Println("passed", passed)
	close(to)
	<-from
}

func main() {
	tasks, duration := arguments("go-channel N [SECONDS=10]")
	// A ring of one passes the message to itself.
	first := make(chan int, 1)
	from := first
	for i := 1; i < tasks; i++ {
		to := make(chan int)
		go pass(from, to)
		from = to
	}
	ended := make(chan bool)
	go func() {
		fmt.Println("started", tasks)
		lead(from, first, duration)
		close(ended)
	}()
	<-ended
	fmt.Println("done", tasks)
}
