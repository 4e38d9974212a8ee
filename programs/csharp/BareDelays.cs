using System;
using System.Threading.Tasks;

/// <summary>N delays, awaited at once.</summary>
public static class BareDelays
{
    private static async Task Run(int count, TimeSpan sleep)
    {
        var tasks = new Task[count];
        for (int i = 0; i < count; i++)
        {
            tasks[i] = Task.Delay(sleep);
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
        if (!Arguments.TryRead("csharp-delays N [SLEEP_SECONDS=10]", args, out count, out sleep))
        {
            return 2;
        }
        Run(count, sleep).GetAwaiter().GetResult();
        return 0;
    }
}
