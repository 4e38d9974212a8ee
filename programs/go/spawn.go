// N goroutines that end at once.
package main

import (
	"fmt"
	"sync"
	"time"
)

func main() {
	tasks, idle := arguments("go-spawn N [IDLE_SECONDS=10]")
	time.Sleep(100 * time.Millisecond)
	fmt.Println("ready", tasks)
	var wg sync.WaitGroup
	wg.Add(tasks)
	for i := 0; i < tasks; i++ {
		go wg.Done()
	}
	wg.Wait()
	fmt.Println("ended", tasks)
	time.Sleep(idle)
	fmt.Println("done", tasks)
}
