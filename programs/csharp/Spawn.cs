using System;
using System.Threading;
using System.Threading.Tasks;

/// <summary>N tasks of the thread pool that end at once.</summary>
public static class Spawn
{
    public static int Main(string[] args)
    {
        int count;
        TimeSpan idle;
        if (!Arguments.TryRead("csharp-spawn N [IDLE_SECONDS=10]", args, out count, out idle))
        {
            return 2;
        }
        Thread.Sleep(100);
        Console.WriteLine("ready " + count);
        var alive = new CountdownEvent(count);
        for (int i = 0; i < count; i++)
        {
            Task.Run(() => { alive.Signal(); });
        }
        alive.Wait();
        Console.WriteLine("ended " + count);
        Thread.Sleep(idle);
        Console.WriteLine("done " + count);
        return 0;
    }
}
