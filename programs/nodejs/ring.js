// N asynchronous functions in a ring that pass on one message. The message counts how often it was passed on.
"use strict";

const { performance } = require("node:perf_hooks");
const { readArguments } = require("./arguments.js");

const STOP = -1;

// Holds one message until it is taken: a promise for each.
class Mailbox {
  constructor() {
    this.empty();
  }

  empty() {
    this.message = new Promise((resolve) => {
      this.put = resolve;
    });
  }

  async take() {
    const message = await this.message;
    this.empty();
    return message;
  }
}

// Passes on each message, and ends after it has passed on the one that stops the ring.
async function pass(from, to) {
  let passed;
  while ((passed = await from.take()) !== STOP) {
    to.put(passed + 1);
  }
  to.put(STOP);
}

// Sends the message, checks the time each time it arrives, and ends when the others have ended.
async function lead(from, to, seconds) {
  const end = performance.now() + seconds * 1000;
  to.put(1);
  let passed = await from.take();
  while (performance.now() < end) {
    to.put(passed + 1);
    passed = await from.take();
  }
  console.log(`passed ${passed}`);
  to.put(STOP);
  await from.take();
}

async function main() {
  const read = readArguments("nodejs-channel N [SECONDS=10]");
  const first = new Mailbox();
  let last = first;
  for (let i = 1; i < read.tasks; i++) {
    const to = new Mailbox();
    pass(last, to);
    last = to;
  }
  console.log(`started ${read.tasks}`);
  await lead(last, first, read.seconds);
  console.log(`done ${read.tasks}`);
}

main();
