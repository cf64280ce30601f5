'use strict';

// Closes a reference whose file may not be removed, and tells what was counted.

const fs = require('node:fs');
const path = require('node:path');
const { Registry } = require(process.env.SOCKREF_PACKAGE);

const isRoot = process.getuid() === 0; // who may remove anything
const place = process.argv[2];
const registry = new Registry({ share: false, guard: false });
const reference = registry.startListenerSync(place);
fs.chmodSync(path.dirname(place), 0o500);
if (isRoot) process.seteuid(65534);
reference.close();
if (isRoot) process.seteuid(0);
fs.chmodSync(path.dirname(place), 0o700);
const { removed, removeFailed, lastRemoveError } = registry.stats();
fs.unlinkSync(place);
console.log(JSON.stringify({ removed, removeFailed, lastRemoveError }));
