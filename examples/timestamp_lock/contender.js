// One process that competes for the role: contender.py for Node.
'use strict'

const { appendFileSync, readFileSync } = require('node:fs')
const { join } = require('node:path')
const Redis = require('ioredis')
const { ExpiringLock, TimestampLock, monotonic, sleep, takePart } = require('./lock')

const INTERVAL = 0.1
const STEP = 0.005
const WRITE = readFileSync(join(__dirname, 'write_step.lua'), 'utf8')

class Noted {
  constructor(lock, file) {
    Object.assign(this, { lock, file })
  }

  held() {
    return this.lock.held()
  }

  async acquire() {
    return this.note(await this.lock.acquire())
  }

  async renew() {
    return this.note(await this.lock.renew())
  }

  note(got) {
    const { token, until } = this.lock
    if (got) appendFileSync(this.file, `claim ${token} ${monotonic().toFixed(6)} ${until.toFixed(6)}\n`)
    return got
  }

  async release() {
    appendFileSync(this.file, `end ${this.lock.token} ${monotonic().toFixed(6)} 0\n`)
    await this.lock.release()
  }
}

function stopBefore(thing, name, time) {
  const method = thing[name].bind(thing)
  let calls = 0
  thing[name] = (...args) => {
    if (++calls === time) process.kill(process.pid, 'SIGSTOP')
    return method(...args)
  }
}

async function main(prefix, form, name, folder, ahead = 0, stop = '') {
  let askedToEnd = false
  process.on('SIGTERM', () => { askedToEnd = true })
  const client = new Redis(process.env.REDIS_URL)
  client.defineCommand('writeStep', { numberOfKeys: 3, lua: WRITE })
  const clock = () => Date.now() + ahead * 1000
  const lock = new { timestamp: TimestampLock, expiring: ExpiringLock }[form](client, `${prefix}${form}`, { clock })
  if (stop === 'getset') stopBefore(client, 'getset', 1)
  if (stop === 'times') stopBefore(lock, 'times', 2)
  const keys = ['steps', 'greatest', 'refused'].map((what) => `${prefix}${form}:${what}`)

  const step = async () => {
    if (!lock.held(STEP)) return false
    await sleep(STEP)
    return (await client.writeStep(...keys, lock.token, `${lock.token} ${name}`)) > 0
  }

  await takePart(new Noted(lock, join(folder, `${form} ${name}`)), INTERVAL, step, () => askedToEnd)
  client.disconnect()
}

// Without arguments: the clock, for a comparison with another language's.
if (process.argv.length > 2) main(...process.argv.slice(2))
else console.log(monotonic())
