# N fibers that sleep, each an Async task.

require "async"

def read_arguments(arguments)
  return nil unless (1..2).cover?(arguments.size)

  tasks, seconds = Integer(arguments[0], 10), Float(arguments[1] || "10")
  tasks >= 1 && (0...1e9).cover?(seconds) ? [tasks, seconds] : nil
rescue ArgumentError
  nil
end

def run(count, seconds)
  Async do |main|
    tasks = Array.new(count) { |i| start(main, i + 1, seconds) }
    puts "started #{count}"
    tasks.each(&:wait)
    puts "done #{count}"
  end
end

def start(main, number, seconds)
  main.async { sleep seconds }
rescue FiberError => error
  warn "could not start fiber #{number}: #{error.message}"
  exit! 1
end

$stdout.sync = true
count, seconds = read_arguments(ARGV)
if count.nil?
  warn "usage: ruby-async N [SLEEP_SECONDS=10]"
  exit 2
end
run(count, seconds)
