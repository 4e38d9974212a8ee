using System;
using System.Collections.Generic;
using System.Threading.Tasks;

/// <summary>N tasks of the thread pool that await a delay, and hold how long.</summary>
public static class CapturedDelays
{
    private static async Task Run(int count, TimeSpan sleep)
    {
        var tasks = new List<Task>();
        for (int i = 0; i < count; i++)
        {
            tasks.Add(Task.Run(async () => await Task.Delay(sleep)));
        }
        Output.Line("started " + count);
        await Task.WhenAll(tasks);
        Output.Line("done " + count);
    }

    // Mono's compiler has no asynchronous Main.
    public static int Main(string[] args)
    {
        int count;
        TimeSpan sleep;
        if (!Arguments.TryRead("csharp-captured N [SLEEP_SECONDS=10]", args, out count, out sleep))
        {
            return 2;
        }
        Run(count, sleep).GetAwaiter().GetResult();
        return 0;
    }
}
