// Compiles the judge into the current folder and runs its demonstration, with packages from NODE_PATH:
// how tests/systems/run runs it. By hand it is `npm install && npm run demo` in this folder.
'use strict'

const { execFileSync, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const folder = path.resolve('code_judge')
fs.mkdirSync(folder)
for (const name of ['src', 'public', 'tsconfig.json']) {
  fs.cpSync(path.join(__dirname, name), path.join(folder, name), { recursive: true })
}
fs.symlinkSync(process.env.NODE_PATH, path.join(folder, 'node_modules'))
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc'], { cwd: folder, stdio: 'inherit' })
const { status } = spawnSync(process.execPath, ['dist/demo.js'], { cwd: folder, stdio: 'inherit' })
process.exit(status ?? 1)
