defmodule Main do
  @moduledoc "N processes, each an Elixir task, that sleep."

  def main(arguments) do
    {count, sleep_ms} = Arguments.read(arguments, "elixir N [SLEEP_SECONDS=10]")
    :persistent_term.put(:sleep_ms, sleep_ms)

    tasks =
      for i <- 1..count do
        Starting.start(i, fn -> Task.async(fn -> :timer.sleep(sleep_ms()) end) end)
      end

    IO.puts("started #{count}")
    Task.await_many(tasks, :infinity)
    IO.puts("done #{count}")
  end

  # A function that captured it would have a copy in each process, as one with a constant has none.
  defp sleep_ms, do: :persistent_term.get(:sleep_ms)
end
