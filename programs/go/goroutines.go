// N goroutines that sleep.
package main

import (
	"fmt"
	"sync"
	"time"
)

// A goroutine that reads it here holds no copy, like one with a constant.
var sleep time.Duration

func main() {
	var tasks int
	tasks, sleep = arguments("go N [SLEEP_SECONDS=10]")
	var wg sync.WaitGroup
	for i := 0; i < tasks; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			time.Sleep(sleep)
		}()
	}
	fmt.Println("started", tasks)
	wg.Wait()
	fmt.Println("done", tasks)
}
