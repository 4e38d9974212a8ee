// N promises of a timer, all awaited at once.

import { setTimeout as sleep } from "node:timers/promises";

function readArguments([tasks, seconds = "10", ...rest]) {
  const read = { tasks: Number(tasks || NaN), seconds: Number(seconds || NaN) };
  // A timer counts milliseconds in 31 bits, and fires at once beyond that.
  const good =
    rest.length === 0 && Number.isSafeInteger(read.tasks) && read.tasks > 0 && read.seconds >= 0 && read.seconds < 2 ** 31 / 1000;
  return good ? read : null;
}

const read = readArguments(Deno.args);
if (read === null) {
  console.error("usage: deno N [SLEEP_SECONDS=10]");
  Deno.exit(2);
}
const tasks = [];
for (let i = 0; i < read.tasks; i++) {
  tasks.push(sleep(read.seconds * 1000));
}
console.log(`started ${read.tasks}`);
await Promise.all(tasks);
console.log(`done ${read.tasks}`);
