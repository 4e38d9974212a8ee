defmodule Main do
  @moduledoc "N processes, each an Elixir task, that end at once."

  def main(arguments) do
    {count, idle_ms} = Arguments.read(arguments, "elixir-spawn N [IDLE_SECONDS=10]")
    main = self()
    # Not a message from each: collecting garbage goes through all that wait in the mailbox.
    alive = :atomics.new(1, [])
    :atomics.put(alive, 1, count)
    Process.sleep(100)
    IO.puts("ready #{count}")

    Enum.each(1..count, fn i ->
      Starting.start(i, fn ->
        Task.start(fn ->
          if :atomics.sub_get(alive, 1, 1) == 0, do: send(main, :all_ended)
        end)
      end)
    end)

    receive do
      :all_ended -> IO.puts("ended #{count}")
    end

    Process.sleep(idle_ms)
    IO.puts("done #{count}")
  end
end
