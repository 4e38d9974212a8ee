defmodule Arguments do
  @moduledoc "The command line that all programs share: how many tasks, and seconds that are 10 if not given."

  @doc "The number of tasks and a duration in milliseconds; ends the VM with the usage where they cannot be read."
  def read(arguments, usage) do
    case parse(arguments) do
      {:ok, tasks, ms} ->
        {tasks, ms}

      :error ->
        IO.puts(:stderr, "usage: #{usage}")
        System.halt(2)
    end
  end

  defp parse([tasks]), do: parse([tasks, "10"])

  defp parse([tasks, seconds]) do
    with {tasks, ""} when tasks > 0 <- Integer.parse(tasks),
         {seconds, ""} when seconds >= 0 and seconds < 4_000_000 <- Float.parse(seconds) do
      {:ok, tasks, round(seconds * 1000)}
    else
      _ -> :error
    end
  end

  defp parse(_), do: :error
end
