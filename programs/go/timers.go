// N timers, each of which has no goroutine until it fires.
package main

import (
	"fmt"
	"sync"
	"time"
)

func main() {
	tasks, sleep := arguments("go-timers N [SLEEP_SECONDS=10]")
	var wg sync.WaitGroup
	wg.Add(tasks)
	for i := 0; i < tasks; i++ {
		time.AfterFunc(sleep, wg.Done)
	}
	fmt.Println("started", tasks)
	wg.Wait()
	fmt.Println("done", tasks)
}
