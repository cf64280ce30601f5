'use strict';

// share.js PATH: hold a name together with other processes, and serve it whenever this one owns it.
//
// The first line of input starts the name, each further one has the program tell what it knows of it, and the end of
// the input ends it. Where the owner is killed, the name is started anew.

const path = require('node:path');
const readline = require('node:readline');
const { startListener } = require('sockref');

const place = process.argv[2];
if (!place || !path.isAbsolute(place)) {
  console.error('usage: node share.js PATH (absolute)');
  process.exit(2);
}

let reference; // what is held

function say(what) {
  console.log(`Node   (${process.pid}): ${what}`);
}

function tell() {
  say(`${reference.isOwner ? 'owner' : 'joined'}, holders: ${reference.holderCount}`);
}

async function start() {
  const mine = await startListener(place);
  let serves = false;
  const serveIfOwner = () => {
    if (!mine.isOwner || serves) return;
    mine.serveEcho();
    serves = true;
  };

  reference = mine;
  tell();
  mine.on('lost', () => {
    say('lost the owner, start anew');
    mine.close();
    start().catch(fail);
  });
  mine.on('owner', () => {
    if (mine.isOwner) tell();
    serveIfOwner();
  });
  serveIfOwner();
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

async function main() {
  say('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (reference) tell();
    else await start();
  }
  reference?.close();
  say('released');
  process.exit(); // what is served still is handed to another holder
}

main().catch(fail);
