// N promises of a timer, all awaited at once.
"use strict";

const { promisify } = require("node:util");
const { readArguments } = require("./arguments.js");

const sleep = promisify(setTimeout);

async function main() {
  const read = readArguments("nodejs N [SLEEP_SECONDS=10]");
  const sleepMs = read.seconds * 1000;
  const tasks = [];
  for (let i = 0; i < read.tasks; i++) {
    tasks.push(sleep(sleepMs));
  }
  console.log(`started ${read.tasks}`);
  await Promise.all(tasks);
  console.log(`done ${read.tasks}`);
}

main();
