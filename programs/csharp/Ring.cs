using System;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;

/// <summary>N tasks in a ring that pass on one message. The message counts how often it was passed on.</summary>
public static class Ring
{
    private const long Stop = -1;

    /// <summary>Holds one message until it is taken; the channels of .NET are not in Mono's class library.</summary>
    private sealed class Mailbox
    {
        private readonly SemaphoreSlim full = new SemaphoreSlim(0);
        private long message;

        public void Put(long message)
        {
            this.message = message;
            full.Release();
        }

        public async Task<long> Take()
        {
            await full.WaitAsync();
            return message;
        }
    }

    /// <summary>Passes on each message, and ends after it has passed on the one that stops the ring.</summary>
    private static async Task Pass(Mailbox from, Mailbox to)
    {
        long passed;
        while ((passed = await from.Take()) != Stop)
        {
            to.Put(passed + 1);
        }
        to.Put(Stop);
    }

    /// <summary>Sends the message, checks the time each time it arrives, and ends when the others have ended.</summary>
    private static async Task Lead(Mailbox from, Mailbox to, TimeSpan duration)
    {
        var clock = Stopwatch.StartNew();
        to.Put(1);
        long passed = await from.Take();
        while (clock.Elapsed < duration)
        {
            to.Put(passed + 1);
            passed = await from.Take();
        }
        Output.Line("passed " + passed);
        to.Put(Stop);
        await from.Take();
    }

    /// <summary>Starts all; the task returned is the last to end.</summary>
    private static Task Start(int count, TimeSpan duration)
    {
        var first = new Mailbox();
        var last = first;
        for (int i = 1; i < count; i++)
        {
            Mailbox from = last, to = new Mailbox();
            Task.Run(() => Pass(from, to));
            last = to;
        }
        return Task.Run(() =>
        {
            Output.Line("started " + count);
            return Lead(last, first, duration);
        });
    }

    public static int Main(string[] args)
    {
        int count;
        TimeSpan duration;
        if (!Arguments.TryRead("csharp-channel N [SECONDS=10]", args, out count, out duration))
        {
            return 2;
        }
        Start(count, duration).GetAwaiter().GetResult();
        Output.Line("done " + count);
        return 0;
    }
}
