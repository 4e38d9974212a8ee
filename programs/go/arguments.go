package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// arguments reads the number of tasks and a duration, and ends the program with a usage line where it cannot.
func arguments(usage string) (int, time.Duration) {
	tasks, duration, ok := parse(os.Args[1:])
	if !ok {
		fmt.Fprintln(os.Stderr, "usage:", usage)
		os.Exit(2)
	}
	return tasks, duration
}

func parse(args []string) (int, time.Duration, bool) {
	if len(args) < 1 || len(args) > 2 {
		return 0, 0, false
	}
	tasks, err := strconv.Atoi(args[0])
	if err != nil || tasks < 1 {
		return 0, 0, false
	}
	seconds := 10.0
	if len(args) == 2 {
		seconds, err = strconv.ParseFloat(args[1], 64)
		if err != nil || !(seconds >= 0 && seconds < 1e9) {
			return 0, 0, false
		}
	}
	return tasks, time.Duration(seconds * float64(time.Second)), true
}
