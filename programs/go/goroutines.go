// N goroutines that sleep.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

func arguments() (int, time.Duration, bool) {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		return 0, 0, false
	}
	tasks, err := strconv.Atoi(os.Args[1])
	if err != nil || tasks < 1 {
		return 0, 0, false
	}
	seconds := 10.0
	if len(os.Args) == 3 {
		seconds, err = strconv.ParseFloat(os.Args[2], 64)
		if err != nil || !(seconds >= 0 && seconds < 1e9) {
			return 0, 0, false
		}
	}
	return tasks, time.Duration(seconds * float64(time.Second)), true
}

func main() {
	tasks, sleep, ok := arguments()
	if !ok {
		fmt.Fprintln(os.Stderr, "usage: go N [SLEEP_SECONDS=10]")
		os.Exit(2)
	}
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
