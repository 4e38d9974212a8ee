//! N threads of the operating system that sleep.
const std = @import("std");

fn task(io: std.Io, sleep: std.Io.Duration) void {
    io.sleep(sleep, .awake) catch {};
}

const Arguments = struct { tasks: usize, sleep: std.Io.Duration };

fn readArguments(words: []const [:0]const u8) ?Arguments {
    if (words.len < 2 or words.len > 3) return null;
    const tasks = std.fmt.parseInt(usize, words[1], 10) catch return null;
    const seconds = std.fmt.parseFloat(f64, if (words.len == 3) words[2] else "10") catch return null;
    if (tasks < 1 or !(seconds >= 0 and seconds < 1e9)) return null;
    return .{ .tasks = tasks, .sleep = .fromNanoseconds(@intFromFloat(seconds * std.time.ns_per_s)) };
}

pub fn main(init: std.process.Init) !void {
    const words = try init.minimal.args.toSlice(init.arena.allocator());
    const arguments = readArguments(words) orelse {
        std.debug.print("usage: zig-threads N [SLEEP_SECONDS=10]\n", .{});
        std.process.exit(2);
    };
    var line: [32]u8 = undefined;
    const threads = try init.gpa.alloc(std.Thread, arguments.tasks);
    defer init.gpa.free(threads);
    for (threads, 1..) |*thread, i| {
        thread.* = std.Thread.spawn(.{}, task, .{ init.io, arguments.sleep }) catch |err| {
            std.debug.print("could not start thread {d}: {t}\n", .{ i, err });
            std.process.exit(1);
        };
    }
    const out: std.Io.File = .stdout();
    try out.writeStreamingAll(init.io, try std.fmt.bufPrint(&line, "started {d}\n", .{arguments.tasks}));
    for (threads) |thread| thread.join();
    try out.writeStreamingAll(init.io, try std.fmt.bufPrint(&line, "done {d}\n", .{arguments.tasks}));
}
