'use strict';

// The declarations: they hold what they say under --strict, nothing in them is `any`, and they name what is there
// at run time, no more and no less.

const { assert, root, inside } = require('./harness.js');
const { spawnSync } = require('node:child_process');
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

// Each runtime name must be declared (else an excess property), and each declared one be there (else one is missing).
function namesOf(module, target, values) {
  const keys = (object) => Reflect.ownKeys(object)
    .map((key) => (typeof key === 'symbol' ? (key === Symbol.dispose ? '[Symbol.dispose]' : undefined) : JSON.stringify(key)))
    .filter((key) => key && key !== '"constructor"' && key !== '"length"' && key !== '"name"');
  return `const ${target.replace(/\W/g, '_')}_${module}: Record<keyof ${values.type}, true> = {\n` +
    `${keys(values.object).map((key) => `  ${key}: true,`).join('\n')}\n};\n`;
}

function surface() {
  const sockref = inside('index.js');
  const compat = inside('compat.js');
  const parts = [
    "import * as sockref from 'sockref';\nimport * as compat from 'sockref/compat';\n",
    namesOf('m', 'sockref', { type: 'typeof sockref', object: sockref }),
    namesOf('m', 'compat', { type: 'typeof compat', object: compat }),
  ];
  for (const name of ['SocketReference', 'Registry', 'Connection']) {
    parts.push(namesOf('i', name, { type: `sockref.${name}`, object: sockref[name].prototype }));
    parts.push(namesOf('s', name, { type: `typeof sockref.${name}`, object: sockref[name] }));
  }
  return `${parts.join('\n')}export {};\n`;
}

function compile(directory, sources, module) {
  const options = {
    compilerOptions: {
      strict: true, noEmit: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false,
      target: 'es2022', lib: ['es2022', 'esnext.disposable'], module, moduleResolution: module, types: ['node'],
      typeRoots: [path.dirname(path.dirname(nodeTypes))],
      paths: {
        sockref: [path.join(lib, module === 'node16' ? 'index.d.ts' : 'index.d.mts')],
        'sockref/compat': [path.join(lib, 'compat.d.ts')],
      },
    },
    files: sources,
  };
  const config = path.join(directory, 'tsconfig.json');
  fs.writeFileSync(config, JSON.stringify(options));
  const { bin } = JSON.parse(fs.readFileSync(typescript, 'utf8'));
  const tsc = path.join(path.dirname(typescript), typeof bin === 'string' ? bin : bin.tsc);
  return spawnSync(process.execPath, [tsc, '-p', config], { encoding: 'utf8' });
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

test('the declarations hold under --strict', { skip }, () => within((directory) => {
  const source = path.join(directory, 'use.ts');
  fs.copyFileSync(path.join(__dirname, 'types', 'use.ts'), source);
  const { status, stdout } = compile(directory, [source], 'node16');
  assert.equal(stdout, '');
  assert.equal(status, 0);
}));

test('they name what is there at run time, no more and no less', { skip }, () => within((directory) => {
  const source = path.join(directory, 'surface.ts');
  fs.writeFileSync(source, surface());
  const { status, stdout } = compile(directory, [source], 'node16');
  assert.equal(stdout, '');
  assert.equal(status, 0);
  // And the check itself sees what is missing and what is too much.
  fs.writeFileSync(source, surface().replace('  "cleanup": true,\n', ''));
  assert.match(compile(directory, [source], 'node16').stdout, /cleanup/);
  fs.writeFileSync(source, surface().replace('  "cleanup": true,\n', '  "cleanup": true,\n  "nonsense": true,\n'));
  assert.match(compile(directory, [source], 'node16').stdout, /nonsense/);
}));

test('nothing in them is any', () => {
  for (const file of ['index.d.ts', 'compat.d.ts', 'index.d.mts', 'compat.d.mts']) {
    assert.doesNotMatch(fs.readFileSync(path.join(lib, file), 'utf8').replace(/\/\*[^]*?\*\//g, ''), /\bany\b/, file);
  }
});
