defmodule Main do
  @moduledoc "N processes, each an Elixir task, that end at once."

  def main(arguments) do
    {count, idle_ms} = Arguments.read(arguments, "elixir-spawn N [IDLE_SECONDS=10]")
    main = self()
    IO.puts("ready #{count}")

    Enum.each(1..count, fn i ->
      Starting.start(i, fn -> Task.start(fn -> send(main, :ended) end) end)
    end)

    await(count)
    IO.puts("ended #{count}")
    Process.sleep(idle_ms)
    IO.puts("done #{count}")
  end

  defp await(0), do: :ok

  defp await(alive) do
    receive do
      :ended -> await(alive - 1)
    end
  end
end
