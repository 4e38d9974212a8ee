defmodule Main do
  @moduledoc "N processes in a ring that pass on one message. The message counts how often it was passed on."

  def main(arguments) do
    {count, duration_ms} = Arguments.read(arguments, "elixir-channel N [SECONDS=10]")
    main = self()
    # The leader starts first, because each process must know its successor, and ends last.
    leader = start(1, fn -> lead(count, duration_ms, main) end)
    send(leader, {:begin, ring(2, count, leader)})

    receive do
      :ended -> IO.puts("done #{count}")
    end
  end

  defp ring(i, count, next) when i > count, do: next
  defp ring(i, count, next), do: ring(i + 1, count, start(i, fn -> pass(next) end))

  defp start(i, run), do: Starting.start(i, fn -> spawn(run) end)

  # Passes on each message, and ends after it has passed on the one that stops the ring.
  defp pass(next) do
    receive do
      :stop ->
        send(next, :stop)

      passed ->
        send(next, passed + 1)
        pass(next)
    end
  end

  # Sends the message, checks the time each time it arrives, and ends when the others have ended.
  defp lead(count, duration_ms, main) do
    receive do
      {:begin, next} ->
        IO.puts("started #{count}")
        finish = System.monotonic_time(:millisecond) + duration_ms
        send(next, 1)
        IO.puts("passed #{go_round(next, finish)}")
        send(next, :stop)
    end

    receive do
      :stop -> send(main, :ended)
    end
  end

  defp go_round(next, finish) do
    receive do
      passed ->
        if System.monotonic_time(:millisecond) < finish do
          send(next, passed + 1)
          go_round(next, finish)
        else
          passed
        end
    end
  end
end
