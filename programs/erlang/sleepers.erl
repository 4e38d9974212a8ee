%% N processes that sleep.
-module(sleepers).
-export([main/0]).

main() ->
    case read(init:get_plain_arguments()) of
        {Count, SleepMs} ->
            run(Count, SleepMs),
            halt(0);
        error ->
            io:put_chars(standard_error, "usage: erlang N [SLEEP_SECONDS=10]\n"),
            halt(2)
    end.

run(Count, SleepMs) ->
    Monitors = [start(I, SleepMs) || I <- lists:seq(1, Count)],
    io:format("started ~b~n", [Count]),
    [receive {'DOWN', Monitor, process, _, _} -> ok end || Monitor <- Monitors],
    io:format("done ~b~n", [Count]).

start(I, SleepMs) ->
    try spawn_monitor(timer, sleep, [SleepMs]) of
        {_, Monitor} -> Monitor
    catch
        error:Reason ->
            io:format(standard_error, "could not start process ~b: ~p~n", [I, Reason]),
            halt(1)
    end.

read([Tasks]) -> read([Tasks, "10"]);
read([Tasks, Seconds]) ->
    case {string:to_integer(Tasks), number(Seconds)} of
        {{Count, []}, {Sleep, []}} when is_integer(Count), Count > 0, Sleep >= 0, Sleep < 4000000 ->
            {Count, round(Sleep * 1000)};
        _ -> error
    end;
read(_) -> error.

%% A number with a fraction or without.
number(Text) ->
    case string:to_float(Text) of
        {error, no_float} -> string:to_integer(Text);
        Read -> Read
    end.
