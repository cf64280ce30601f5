'use strict';

const { assert, sockref, inside, root, scenario, isSocket, until } = require('./harness.js');
const fs = require('node:fs');
const path = require('node:path');

process.removeAllListeners('warning');
const warnings = [];
process.on('warning', (warning) => warnings.push(warning));
const compat = inside('compat.js');

function forget() {
  compat.CleanupAllSockets();
}

scenario('the form that tells only a path', async ({ file }) => {
  assert.equal(await compat.StartSocketConnection(file()), file());
  assert.equal(await compat.StartSocketConnection(file()), file());
  const found = sockref.SocketReference.getExisting(file());
  assert.equal(found.referenceCount, 2, 'one reference a name');
  found.close();
  assert.equal(compat.IsSocketActive(file()), true);
  assert.equal(compat.GetActiveSocketCount(), 1);
  sockref.cleanup(file());
  assert.equal(isSocket(file()), false);
  assert.equal(await compat.StartSocketConnection(file()), file());
  assert.equal(isSocket(file()), true, 'a revoked one is started anew');
  forget();
});

scenario('a name that was revoked is let go by the next start of another one', async ({ file }) => {
  await compat.StartSocketConnection(file());
  sockref.cleanup(file());
  const { references } = sockref.liveCounts();
  await compat.StartSocketConnection(file('other'));
  assert.equal(sockref.liveCounts().references, references, 'one less, one more');
  forget();
});

scenario('the default path', async () => {
  const place = await compat.StartSocketConnection();
  assert.equal(path.isAbsolute(place), true);
  assert.equal(isSocket(place), true);
  forget();
  assert.equal(isSocket(place), false);
});

scenario('the form with a reference', async ({ file }) => {
  const reference = await compat.StartSocketConnectionWithReference(file());
  assert.equal(reference instanceof compat.SocketReference, true);
  assert.equal(compat.SocketReference, sockref.SocketReference);
  assert.equal(reference.referenceCount, 1);
  reference.close();
  await assert.rejects(compat.StartSocketConnectionWithReference('relative'), { code: 'ESOCKREF_PATH' });
  await assert.rejects(compat.StartSocketConnection(null), { code: 'ERR_INVALID_ARG_TYPE' });
});

scenario('ForceCleanupSocket', async ({ file }) => {
  await compat.StartSocketConnection(file());
  compat.ForceCleanupSocket(file());
  assert.equal(isSocket(file()), false);
  assert.equal(compat.IsSocketActive(file()), false);
  compat.ForceCleanupSocket(file());
  fs.writeFileSync(file('regular'), 'precious');
  compat.ForceCleanupSocket(file('regular'));
  assert.equal(fs.readFileSync(file('regular'), 'utf8'), 'precious');
  assert.throws(() => compat.ForceCleanupSocket('relative'), { code: 'ESOCKREF_PATH' });
});

scenario('each earlier name warns once', async () => {
  await until(() => warnings.length >= 6);
  assert.deepEqual(warnings.map((warning) => warning.code).sort(), [1, 2, 3, 4, 5, 6].map((i) => `SOCKREF_DEP000${i}`));
  assert.equal(warnings.every((warning) => warning.name === 'DeprecationWarning'), true);
});

scenario('ES modules have the same names', async () => {
  for (const name of ['index', 'compat']) {
    const required = require(path.join(root, 'lib', `${name}.js`));
    const imported = await import(path.join(root, 'lib', `${name}.mjs`));
    assert.deepEqual(Object.keys(imported).sort(), Object.keys(required).sort());
    for (const key of Object.keys(required)) assert.equal(imported[key], required[key], key);
  }
});
