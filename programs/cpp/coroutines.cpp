// N coroutines on one event loop, each of which awaits a timer of its own.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>

#include <asio.hpp>

using Sleep = std::chrono::nanoseconds;

static asio::awaitable<void> task(Sleep sleep) {
    asio::steady_timer timer(co_await asio::this_coro::executor, sleep);
    co_await timer.async_wait(asio::use_awaitable);
}

static bool read_arguments(int argc, char **argv, long &tasks, Sleep &sleep) {
    if (argc < 2 || argc > 3) {
        return false;
    }
    try {
        const std::string first = argv[1], second = argc == 3 ? argv[2] : "10";
        std::size_t first_end, second_end;
        tasks = std::stol(first, &first_end);
        const double seconds = std::stod(second, &second_end);
        sleep = std::chrono::duration_cast<Sleep>(std::chrono::duration<double>(seconds < 1e9 ? seconds : 0));
        return first_end == first.size() && second_end == second.size() && tasks >= 1 && seconds >= 0 && seconds < 1e9;
    } catch (const std::logic_error &) { // no number, or one that is too large
        return false;
    }
}

int main(int argc, char **argv) {
    long tasks;
    Sleep sleep;
    if (!read_arguments(argc, argv, tasks, sleep)) {
        std::cerr << "usage: cpp-asio N [SLEEP_SECONDS=10]\n";
        return 2;
    }
    asio::io_context loop(1);
    for (long i = 0; i < tasks; i++) {
        asio::co_spawn(loop, task(sleep), asio::detached);
    }
    std::cout << "started " << tasks << std::endl;
    loop.run();
    std::cout << "done " << tasks << std::endl;
}
