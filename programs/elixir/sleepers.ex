defmodule Main do
  @moduledoc "N processes, each an Elixir task, that sleep."

  def main(arguments) do
    case read(arguments) do
      {:ok, tasks, sleep_ms} ->
        run(tasks, sleep_ms)

      :error ->
        IO.puts(:stderr, "usage: elixir N [SLEEP_SECONDS=10]")
        System.halt(2)
    end
  end

  defp run(count, sleep_ms) do
    tasks = for i <- 1..count, do: start(i, sleep_ms)
    IO.puts("started #{count}")
    Task.await_many(tasks, :infinity)
    IO.puts("done #{count}")
  end

  defp start(i, sleep_ms) do
    Task.async(fn -> Process.sleep(sleep_ms) end)
  rescue
    error in SystemLimitError ->
      IO.puts(:stderr, "could not start process #{i}: #{Exception.message(error)}")
      System.halt(1)
  end

  defp read([tasks]), do: read([tasks, "10"])

  defp read([tasks, seconds]) do
    with {tasks, ""} when tasks > 0 <- Integer.parse(tasks),
         {seconds, ""} when seconds >= 0 and seconds < 4_000_000 <- Float.parse(seconds) do
      {:ok, tasks, round(seconds * 1000)}
    else
      _ -> :error
    end
  end

  defp read(_), do: :error
end
