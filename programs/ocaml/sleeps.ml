(* N promises of a timer, all awaited at once. *)

let read_arguments arguments =
  let tasks, seconds =
    match arguments with
    | [ _; tasks ] -> (tasks, "10")
    | [ _; tasks; seconds ] -> (tasks, seconds)
    | _ -> ("", "")
  in
  match (int_of_string_opt tasks, float_of_string_opt seconds) with
  | Some count, Some sleep when count >= 1 && sleep >= 0. && sleep < 1e9 -> Some (count, sleep)
  | _ -> None

let run count sleep =
  let tasks = List.init count (fun _ -> Lwt_unix.sleep sleep) in
  Printf.printf "started %d\n%!" count;
  Lwt_main.run (Lwt.join tasks);
  Printf.printf "done %d\n" count

let () =
  match read_arguments (Array.to_list Sys.argv) with
  | Some (count, sleep) -> run count sleep
  | None ->
      prerr_endline "usage: ocaml-lwt N [SLEEP_SECONDS=10]";
      exit 2
