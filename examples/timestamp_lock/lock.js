// A role that one process at a time has, by either of two locks: lock.py, which explains them, for Node and ioredis.
'use strict'

const { randomBytes } = require('node:crypto')

// Of a term, what a holder does not count on.
const DRIFT = 0.01

// Seconds of the clock that is never set, the same for all processes of a machine.
const monotonic = () => Number(process.hrtime.bigint()) / 1e9
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

class TimestampLock {
  constructor(client, key, { term = 2, margin = 1, clock = Date.now } = {}) {
    Object.assign(this, { client, key, term, margin, clock, until: 0, token: 0 })
  }

  held(seconds = 0) {
    return monotonic() + seconds < this.until
  }

  async acquire() {
    const { sent, now, ends } = this.times()
    if (!(await this.client.setnx(this.key, ends))) {
      const takenUntil = await this.client.get(this.key)
      if (takenUntil === null || Number(takenUntil) >= now) return false
      if (!(await this.put(now, ends))) return false
    }
    this.until = sent + this.term - this.margin
    return true
  }

  async renew() {
    if (!this.held()) return false
    const { sent, ends } = this.times()
    const previous = await this.client.getset(this.key, ends)
    if (previous !== null && Number(previous) > ends) {
      await this.client.set(this.key, previous)
    } else if (this.held()) {
      this.until = sent + this.term - this.margin
      return true
    }
    this.until = 0
    return false
  }

  async release() {
    if (!this.held()) return
    this.until = 0
    await this.client.del(this.key)
  }

  async put(now, ends) {
    const previous = await this.client.getset(this.key, ends)
    if (previous === null || Number(previous) < now) return true
    if (Number(previous) > ends) await this.client.set(this.key, previous)
    return false
  }

  times() {
    const sent = monotonic()
    const now = this.clock()
    return { sent, now, ends: now + Math.round(this.term * 1000) }
  }
}

const ACQUIRE = `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
    return redis.call('INCR', KEYS[2])
elseif redis.call('GET', KEYS[1]) == ARGV[1] then
    return tonumber(redis.call('GET', KEYS[2]))
end
return 0
`

const RENEW = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
`

const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
`

class ExpiringLock {
  constructor(client, key, { term = 1 } = {}) {
    Object.assign(this, { client, key, term, until: 0, token: 0, value: '' })
    client.defineCommand('acquireLock', { numberOfKeys: 2, lua: ACQUIRE })
    client.defineCommand('renewLock', { numberOfKeys: 1, lua: RENEW })
    client.defineCommand('releaseLock', { numberOfKeys: 1, lua: RELEASE })
  }

  held(seconds = 0) {
    return monotonic() + seconds < this.until
  }

  async acquire() {
    const sent = monotonic()
    const ms = Math.round(this.term * 1000)
    this.value = randomBytes(16).toString('hex')
    const token = await this.client.acquireLock(this.key, `${this.key}:tokens`, this.value, ms)
    if (token) Object.assign(this, { token, until: sent + this.term * (1 - DRIFT) })
    return token > 0
  }

  async renew() {
    const sent = monotonic()
    const renewed = await this.client.renewLock(this.key, this.value, Math.round(this.term * 1000))
    this.until = renewed ? sent + this.term * (1 - DRIFT) : 0
    return renewed === 1
  }

  async release() {
    this.until = 0
    return (await this.client.releaseLock(this.key, this.value)) === 1
  }
}

async function takePart(lock, interval, work, ended) {
  while (!ended()) {
    if (await (lock.held() ? lock.renew() : lock.acquire())) {
      const next = monotonic() + interval
      while (monotonic() < next && (await work()));
    } else {
      await sleep(interval)
    }
  }
  await lock.release()
}

module.exports = { ExpiringLock, TimestampLock, monotonic, sleep, takePart }
