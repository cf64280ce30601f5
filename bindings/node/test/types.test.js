'use strict';

// The declarations: they hold what they say, nothing in them is `any`, and they name what is there
// at run time, no more and no less.

const { assert, root, inside, limit } = require('./harness.js');
const { spawnSync } = require('node:child_process');
const { EventEmitter } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');

const lib = path.join(root, 'lib');

function find(name) {
  try {
    return require.resolve(name, { paths: [path.join(__dirname, '..'), root] });
  } catch {
    return undefined;
  }
}

const typescript = find('typescript/package.json');
const nodeTypes = find('@types/node/package.json');

const inherited = [...Reflect.ownKeys(EventEmitter), ...Reflect.ownKeys(EventEmitter.prototype)];

// Each runtime name must be declared (else an excess property), and each declared one be there (else one is missing).
// What comes from EventEmitter is Node's own.
function namesOf(module, target, values) {
  const keys = (object) => Reflect.ownKeys(object).filter((key) => !inherited.includes(key))
    .map((key) => (typeof key === 'symbol' ? (key === Symbol.dispose ? '[Symbol.dispose]' : undefined) : JSON.stringify(key)))
    .filter((key) => key && key !== '"constructor"' && key !== '"length"' && key !== '"name"');
  const declared = `Exclude<keyof ${values.type}, keyof EventEmitter | keyof typeof EventEmitter>`;
  return `const ${target.replace(/\W/g, '_')}_${module}: Record<${declared}, true> = {\n` +
    `${keys(values.object).map((key) => `  ${key}: true,`).join('\n')}\n};\n`;
}

function surface() {
  const sockref = inside('index.js');
  const compat = inside('compat.js');
  const net = inside('net.js');
  const parts = [
    "import { EventEmitter } from 'node:events';\nimport * as sockref from 'sockref';\nimport * as compat from 'sockref/compat';\n" +
      "import * as net from 'sockref/net';\n",
    namesOf('m', 'sockref', { type: 'typeof sockref', object: sockref }),
    namesOf('m', 'compat', { type: 'typeof compat', object: compat }),
    namesOf('m', 'net', { type: 'typeof net', object: net }),
  ];
  parts.push(namesOf('i', 'BoundSocket', { type: 'net.BoundSocket', object: net.BoundSocket.prototype }));
  for (const name of ['SocketReference', 'Registry', 'SocketPool', 'Connection']) {
    parts.push(namesOf('i', name, { type: `sockref.${name}`, object: sockref[name].prototype }));
    parts.push(namesOf('s', name, { type: `typeof sockref.${name}`, object: sockref[name] }));
  }
  return `${parts.join('\n')}export {};\n`;
}

const { compilerOptions } = JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'tsconfig.json'), 'utf8'));

function compile(directory, sources, more = {}) {
  const options = {
    compilerOptions: {
      ...compilerOptions,
      ...more,
      typeRoots: [path.dirname(path.dirname(nodeTypes))],
      paths: more.paths ?? Object.fromEntries([['sockref', 'index'], ['sockref/compat', 'compat'], ['sockref/net', 'net']]
        .map(([name, file]) => [name, [path.join(lib, `${file}.d.ts`)]])),
    },
    files: sources,
  };
  const config = path.join(directory, 'tsconfig.json');
  fs.writeFileSync(config, JSON.stringify(options));
  const { bin } = JSON.parse(fs.readFileSync(typescript, 'utf8'));
  const tsc = path.join(path.dirname(typescript), typeof bin === 'string' ? bin : bin.tsc);
  return spawnSync(process.execPath, [tsc, '-p', config], { encoding: 'utf8', timeout: limit });
}

const skip = typescript && nodeTypes ? false : 'typescript or @types/node is not installed: run npm ci in bindings/node';

function within(body) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sockref-node-'));
  try {
    body(directory);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

test('the declarations hold as tsconfig.json says, strictly', { skip }, () => within((directory) => {
  const sources = ['use.ts', 'net.ts'].map((name) => {
    const source = path.join(directory, name);
    fs.copyFileSync(path.join(__dirname, 'types', name), source);
    return source;
  });
  const { status, stdout } = compile(directory, sources);
  assert.equal(stdout, '');
  assert.equal(status, 0);
}));

test('they name what is there at run time, no more and no less', { skip }, () => within((directory) => {
  const source = path.join(directory, 'surface.ts');
  fs.writeFileSync(source, surface());
  const { status, stdout } = compile(directory, [source]);
  assert.equal(stdout, '');
  assert.equal(status, 0);
  // And the check itself sees what is missing and what is too much.
  fs.writeFileSync(source, surface().replace('  "cleanup": true,\n', ''));
  assert.match(compile(directory, [source]).stdout, /cleanup/);
  fs.writeFileSync(source, surface().replace('  "cleanup": true,\n', '  "cleanup": true,\n  "nonsense": true,\n'));
  assert.match(compile(directory, [source]).stdout, /nonsense/);
}));

// As moduleResolution node10 did, which the newest compiler has no more.
test('they are found where the exports of a package are not read', { skip }, () => within((directory) => {
  const copy = path.join(directory, 'node_modules', 'sockref');
  fs.mkdirSync(copy, { recursive: true });
  fs.copyFileSync(path.join(root, 'package.json'), path.join(copy, 'package.json'));
  fs.symlinkSync(lib, path.join(copy, 'lib'));
  const source = path.join(directory, 'surface.ts');
  fs.writeFileSync(source, surface());
  const { status, stdout } = compile(directory, [source],
    { module: 'esnext', moduleResolution: 'bundler', resolvePackageJsonExports: false, paths: {} });
  assert.equal(stdout, '');
  assert.equal(status, 0);
}));

test('nothing in them is any', () => {
  for (const file of ['index.d.ts', 'compat.d.ts', 'net.d.ts', 'index.d.mts', 'compat.d.mts', 'net.d.mts']) {
    assert.doesNotMatch(fs.readFileSync(path.join(lib, file), 'utf8').replace(/\/\*[^]*?\*\//g, ''), /\bany\b/, file);
  }
});
