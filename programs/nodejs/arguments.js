// The command line that all programs share: how many tasks, and a number of seconds that is 10 if not given.
"use strict";

function parse([tasks, seconds = "10", ...rest]) {
  const read = { tasks: Number(tasks || NaN), seconds: Number(seconds || NaN) };
  // A timer counts milliseconds in 31 bits, and fires at once beyond that.
  const good =
    rest.length === 0 && Number.isSafeInteger(read.tasks) && read.tasks > 0 && read.seconds >= 0 && read.seconds < 2 ** 31 / 1000;
  return good ? read : null;
}

// Ends the program with the usage line where the arguments cannot be read.
function readArguments(usage) {
  const read = parse(process.argv.slice(2));
  if (read === null) {
    console.error(`usage: ${usage}`);
    process.exit(2);
  }
  return read;
}

module.exports = { readArguments };
