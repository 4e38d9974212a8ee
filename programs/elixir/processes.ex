defmodule Main do
  @moduledoc "N plain processes that sleep, each watched for its end."

  def main(arguments) do
    {count, sleep_ms} = Arguments.read(arguments, "elixir-processes N [SLEEP_SECONDS=10]")

    Enum.each(1..count, fn i ->
      Starting.start(i, fn -> spawn_monitor(Process, :sleep, [sleep_ms]) end)
    end)

    IO.puts("started #{count}")
    await(count)
    IO.puts("done #{count}")
  end

  defp await(0), do: :ok

  defp await(alive) do
    receive do
      {:DOWN, _, :process, _, :normal} -> await(alive - 1)
    end
  end
end
