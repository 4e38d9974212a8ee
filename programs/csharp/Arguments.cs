using System;
using System.Globalization;
using System.IO;
using System.Runtime.InteropServices;

/// <summary>The command line that all programs share.</summary>
public static class Arguments
{
    /// <summary>Reads the number of tasks and a duration, 10 s if not given; prints the usage if that fails.</summary>
    public static bool TryRead(string usage, string[] args, out int tasks, out TimeSpan duration)
    {
        double seconds = 10;
        tasks = 0;
        duration = TimeSpan.Zero;
        if (args.Length < 1 || args.Length > 2
            || !int.TryParse(args[0], NumberStyles.None, CultureInfo.InvariantCulture, out tasks) || tasks < 1
            || (args.Length == 2 && !double.TryParse(args[1], NumberStyles.Float, CultureInfo.InvariantCulture, out seconds))
            || !(seconds >= 0 && seconds <= 2000000))
        {
            Console.Error.WriteLine("usage: " + usage);
            return false;
        }
        duration = TimeSpan.FromSeconds(seconds);
        return true;
    }
}

/// <summary>The output of all programs. Each line is flushed at once.</summary>
public static class Output
{
    // Console, which the article's listing does not need, would add 1.7 MiB.
    [DllImport("libc")]
    private static extern IntPtr write(int descriptor, byte[] bytes, IntPtr count);

    public static void Line(string text)
    {
        var line = new byte[text.Length + 1];
        for (int i = 0; i < text.Length; i++)
        {
            line[i] = (byte)text[i];
        }
        line[text.Length] = (byte)'\n';
        if ((long)write(1, line, (IntPtr)line.Length) != line.Length)
        {
            throw new IOException("could not write to standard output");
        }
    }
}
