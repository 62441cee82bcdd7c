// What the tests share: where the server is, checks, waits, and workers as processes.
//
// `run` gives the port of the server that it started as SYSTEMS_PORTS. A test fails by an exception;
// the last line that it prints says what it has shown.
'use strict'

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')

const connection = { host: '127.0.0.1', port: Number(process.env.SYSTEMS_PORTS.split(' ')[0]) }

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Polls until the condition's value is true and returns it.
async function waitFor(condition, seconds, what) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const value = await condition()
    if (value) return value
    assert(Date.now() < end, `not within ${seconds} s: ${what}`)
    await sleep(20)
  }
}

// Runs this script again with an argument, until `run` or the test kills it.
const startWorker = (script, role) => fork(script, [role], { stdio: 'inherit' })

// Ends the process with the outcome of the test; open connections would keep it.
async function runTest(main) {
  try {
    console.log(await main())
    process.exit(0)
  } catch (error) {
    console.log(error.stack)
    process.exit(1)
  }
}

module.exports = { assert, connection, runTest, sleep, startWorker, waitFor }
