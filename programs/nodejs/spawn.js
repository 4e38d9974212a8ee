// N asynchronous functions that end in their first turn.
"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const { readArguments } = require("./arguments.js");

function spawn(tasks) {
  return new Promise((allEnded) => {
    let alive = tasks;
    const task = async () => {
      // Until here it is a call like any other.
      await null;
      if (--alive === 0) {
        allEnded();
      }
    };
    for (let i = 0; i < tasks; i++) {
      task();
    }
  });
}

async function main() {
  const read = readArguments("nodejs-spawn N [IDLE_SECONDS=10]");
  await sleep(100);
  console.log(`ready ${read.tasks}`);
  await spawn(read.tasks);
  console.log(`ended ${read.tasks}`);
  await sleep(read.seconds * 1000);
  console.log(`done ${read.tasks}`);
}

main();
