// N goroutines that sleep.
package main

import (
	"fmt"
	"sync"
	"time"
)

func main() {
	tasks, sleep := arguments("go N [SLEEP_SECONDS=10]")
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
