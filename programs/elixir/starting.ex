defmodule Starting do
  @moduledoc "Starting processes."

  @doc "Starts the `i`-th process by `start`, or ends the VM with one line."
  def start(i, start) do
    start.()
  rescue
    error in SystemLimitError ->
      IO.puts(:stderr, "could not start process #{i}: #{Exception.message(error)}")
      System.halt(1)
  end
end
