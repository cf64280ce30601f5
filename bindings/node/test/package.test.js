'use strict';

// The package has its own library and guard, and finds them beside its addon.

const { assert, root, scenario, run, limit } = require('./harness.js');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const nothingElse = { SOCKREF_GUARD: '', LD_LIBRARY_PATH: '', NODE_PATH: '' };

const tell = `
  const sockref = require(process.argv[1]);
  sockref.startListenerSync(process.argv[2], { guard: 'required' });
  const { libraryFile } = require(process.argv[1] + '/lib/low.js').build_info();
  console.log(JSON.stringify([
    require('node:fs').readlinkSync('/proc/' + sockref.guardStatus() + '/exe'), libraryFile.replace(/[.][0-9]+$/, '')]));
`;

/** Which guard and which library a copy of the package runs. */
async function used(copy, place) {
  const { out, err } = await run(['-e', tell, copy, place], { env: nothingElse });
  assert.equal(err, '');
  return JSON.parse(out).map((file) => fs.realpathSync(path.dirname(file)) + path.sep + path.basename(file));
}

const own = (copy) => ['sockref-guard', 'libsockref.so'].map((leaf) => path.join(fs.realpathSync(copy), 'build', 'Release', leaf));

function succeed(command, args, options) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: limit, ...options });
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error ?? stderr}${stdout}`);
  return stdout.trim();
}

scenario('the guard lies beside the addon and is found there', async ({ file }) => {
  assert.deepEqual(await used(root, file()), own(root));
});

scenario('what pkg-config tells of a path with any letters can be compiled with', async ({ t, file }) => {
  const script = path.join(root, 'scripts', 'pkg-config.js');
  if (!fs.existsSync(script)) { // not where make has installed it
    t.skip('nothing to build');
    return;
  }
  const place = file('Zähler und mehr');
  fs.mkdirSync(place);
  fs.writeFileSync(path.join(place, 'sockref.pc'),
    `where=${place}\nName: sockref\nDescription: sockref\nVersion: 1\nCflags: "-I\${where}"\n`);
  const told = succeed(process.execPath, [script, '--cflags'], { env: { ...process.env, PKG_CONFIG_PATH: place } });
  assert.equal(succeed('sh', ['-c', `printf %s ${told}`]), `-I${place}`);
});

// What is packed are the sources. This installs them but for the compiler: the addon is the one that was built.
scenario('a packed copy that is installed anew has its guard', async ({ t, file, directory }) => {
  const hasSources = fs.existsSync(path.join(root, 'scripts', 'build.js')); // not where make has installed it
  if (!hasSources || spawnSync('npm', ['--version'], { timeout: limit }).status !== 0) {
    t.skip(hasSources ? 'there is no npm' : 'nothing to pack');
    return;
  }
  const env = { ...process.env, npm_config_cache: file('cache'), npm_config_update_notifier: 'false' };
  const tarball = succeed('npm', ['pack', '--silent', '--pack-destination', directory], { cwd: root, env });
  succeed('tar', ['-xzf', file(tarball)], { cwd: directory });
  const copy = file('package');
  assert.equal(fs.existsSync(path.join(copy, 'build')), false);
  fs.writeFileSync(file('node-gyp.js'), `
    const fs = require('node:fs');
    fs.mkdirSync('build/Release', { recursive: true });
    fs.copyFileSync(${JSON.stringify(path.join(root, 'build', 'Release', 'sockref_low.node'))}, 'build/Release/sockref_low.node');
  `);
  const { SOCKREF_GUARD: _, ...installing } = { ...env, npm_config_node_gyp: file('node-gyp.js') };
  succeed(process.execPath, [path.join(copy, 'scripts', 'build.js')], { env: installing });
  assert.equal(fs.statSync(path.join(copy, 'build', 'Release', 'sockref-guard')).mode & 0o111, 0o111);
  assert.deepEqual(await used(copy, file()), own(copy));
});
