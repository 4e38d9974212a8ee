// N promises of a timer in an array of that size, all awaited at once.
"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const { readArguments } = require("./arguments.js");

async function main() {
  const read = readArguments("nodejs-preallocated N [SLEEP_SECONDS=10]");
  const tasks = new Array(read.tasks);
  for (let i = 0; i < read.tasks; i++) {
    tasks[i] = sleep(read.seconds * 1000);
  }
  console.log(`started ${read.tasks}`);
  await Promise.all(tasks);
  console.log(`done ${read.tasks}`);
}

main();
