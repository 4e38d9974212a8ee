using System;
using System.Collections.Generic;
using System.Threading.Tasks;

/// <summary>N tasks of the thread pool that await a delay.</summary>
public static class Delays
{
    // A lambda that captured it would make an object for each task; one with a constant makes none.
    private static TimeSpan sleep;

    private static async Task Run(int count)
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
        if (!Arguments.TryRead("csharp N [SLEEP_SECONDS=10]", args, out count, out sleep))
        {
            return 2;
        }
        Run(count).GetAwaiter().GetResult();
        return 0;
    }
}
