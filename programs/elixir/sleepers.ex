defmodule Main do
  @moduledoc "N processes, each an Elixir task, that sleep."

  def main(arguments) do
    {count, sleep_ms} = Arguments.read(arguments, "elixir N [SLEEP_SECONDS=10]")

    tasks =
      for i <- 1..count do
        Starting.start(i, fn -> Task.async(fn -> Process.sleep(sleep_ms) end) end)
      end

    IO.puts("started #{count}")
    Task.await_many(tasks, :infinity)
    IO.puts("done #{count}")
  end
end
