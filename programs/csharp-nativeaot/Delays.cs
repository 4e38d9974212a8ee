using System;
using System.Collections.Generic;
using System.Globalization;
using System.Threading.Tasks;

/// <summary>N tasks of the thread pool that await a delay: what ../csharp does, compiled ahead of time.</summary>
public static class Delays
{
    // A lambda that captured it would make an object for each task; one with a constant makes none.
    private static TimeSpan sleep;

    private static bool TryRead(string[] args, out int tasks, out TimeSpan sleep)
    {
        double seconds = 10;
        tasks = 0;
        sleep = TimeSpan.Zero;
        if (args.Length < 1 || args.Length > 2
            || !int.TryParse(args[0], NumberStyles.None, CultureInfo.InvariantCulture, out tasks) || tasks < 1
            || (args.Length == 2 && !double.TryParse(args[1], NumberStyles.Float, CultureInfo.InvariantCulture, out seconds))
            || !(seconds >= 0 && seconds <= 2000000))
        {
            return false;
        }
        sleep = TimeSpan.FromSeconds(seconds);
        return true;
    }

    private static async Task Run(int count)
    {
        var tasks = new List<Task>();
        for (int i = 0; i < count; i++)
        {
            tasks.Add(Task.Run(async () => await Task.Delay(sleep)));
        }
        Console.WriteLine("started " + count);
        await Task.WhenAll(tasks);
        Console.WriteLine("done " + count);
    }

    public static int Main(string[] args)
    {
        int count;
        if (!TryRead(args, out count, out sleep))
        {
            Console.Error.WriteLine("usage: csharp-nativeaot N [SLEEP_SECONDS=10]");
            return 2;
        }
        Run(count).GetAwaiter().GetResult();
        return 0;
    }
}
