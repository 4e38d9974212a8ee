/** N coroutines that sleep, in the loop of the thread that starts them. */

import kotlin.system.exitProcess
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.delay
import kotlinx.coroutines.joinAll
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

fun readArguments(arguments: Array<String>): Pair<Int, Duration>? {
    if (arguments.size !in 1..2) return null
    val tasks = arguments[0].toIntOrNull() ?: return null
    val seconds = arguments.getOrElse(1) { "10" }.toDoubleOrNull() ?: return null
    return if (tasks >= 1 && seconds >= 0 && seconds < 1e9) tasks to seconds.seconds else null
}

fun main(arguments: Array<String>) {
    val (tasks, sleep) = readArguments(arguments) ?: run {
        System.err.println("usage: kotlin N [SLEEP_SECONDS=10]")
        exitProcess(2)
    }
    runBlocking {
        val jobs = List(tasks) { launch { delay(sleep) } }
        println("started $tasks")
        jobs.joinAll()
    }
    println("done $tasks")
}
