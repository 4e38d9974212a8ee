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
        Output.Line("ready " + count);
        var alive = new CountdownEvent(count);
        for (int i = 0; i < count; i++)
        {
            Task.Run(() => { alive.Signal(); });
        }
        alive.Wait();
        Output.Line("ended " + count);
        Thread.Sleep(idle);
        Output.Line("done " + count);
        return 0;
    }
}
