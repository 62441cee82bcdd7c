// Bull, whose queues are lists, sorted sets and hashes moved by Lua scripts, with pub/sub between.
//
// Shown: a thousand jobs by three workers, each done at least once, with its result, though one
// worker is killed in the middle of a job (it stalls and is taken up by another); prioritised jobs
// run in their order, delayed ones not before their time and in its order, repeated ones as often
// as asked for, failing ones as often as they may; a paused queue rests; events arrive.
'use strict'

const Queue = require('bull')
const Redis = require('ioredis')
const { assert, connection, runTest, sleep, startWorker, waitFor } = require('./common')

const JOBS = 1000
const WORKERS = 3
const STUCK = 400
const settings = { lockDuration: 2000, stalledInterval: 500, guardInterval: 200, drainDelay: 1 }

const open = (name) => new Queue(name, { redis: connection, settings })

// A worker process: counts its tries of every job; the first of the stuck one never ends.
function work() {
  const redis = new Redis(connection)
  open('many').process(4, async (job) => {
    const tries = await redis.hincrby('effects', job.data.number, 1)
    if (job.data.number === STUCK && tries === 1) {
      await redis.set('stuck', process.pid)
      await new Promise(() => {})
    }
    return job.data.number * 2
  })
}

async function many(redis) {
  const queue = open('many')
  let completed = 0
  let stalled = 0
  queue.on('global:completed', () => completed++)
  queue.on('global:stalled', () => stalled++)
  await queue.isReady()
  const jobs = await queue.addBulk(Array.from({ length: JOBS }, (_, number) => ({ data: { number } })))
  const workers = Array.from({ length: WORKERS }, () => startWorker(__filename, 'work'))
  const stuck = Number(await waitFor(() => redis.get('stuck'), 20, 'the stuck job runs'))
  workers.find((worker) => worker.pid === stuck).kill('SIGKILL')
  await waitFor(async () => (await queue.getCompletedCount()) === JOBS, 30, 'all jobs are completed')
  const effects = await redis.hgetall('effects')
  assert.equal(Object.keys(effects).length, JOBS)
  assert.equal(effects[STUCK], '2')
  // Jobs that the killed worker had at the same time may have been done twice, too.
  const twice = Object.values(effects).filter((tries) => tries !== '1').length
  assert(twice <= 4, `${twice} jobs were done twice`)
  for (const { id } of jobs) {
    const job = await queue.getJob(id)
    assert.equal(job.returnvalue, job.data.number * 2)
    assert.equal(await job.getState(), 'completed')
  }
  await waitFor(() => completed >= JOBS && stalled >= 1, 10, `events: ${completed}, ${stalled}`)
  const { completed: done, ...others } = await queue.getJobCounts()
  assert.equal(done, JOBS)
  assert.deepEqual(Object.values(others).filter((count) => count), [])
  workers.forEach((worker) => worker.kill('SIGKILL'))
  await queue.close()
}

// Runs such jobs, added while the queue is paused, and returns them in their order with the times.
async function inOrder(name, jobs) {
  const queue = open(name)
  await queue.pause()
  for (const options of jobs) await queue.add({}, options)
  const seen = []
  queue.process(async (job) => {
    seen.push({ priority: job.opts.priority, due: job.timestamp + (job.opts.delay ?? 0), ran: Date.now() })
  })
  await sleep(100)
  assert.deepEqual(seen, [], 'a paused queue rests')
  await queue.resume()
  await waitFor(() => seen.length >= jobs.length, 20, `${name} jobs`)
  await queue.close()
  return seen
}

async function prioritised() {
  const priorities = Array.from({ length: 60 }, (_, number) => 1 + ((number * 7) % 20))
  const seen = await inOrder('prioritised', priorities.map((priority) => ({ priority })))
  assert.deepEqual(seen.map(({ priority }) => priority), [...priorities].sort((a, b) => a - b))
}

async function delayed() {
  const delays = Array.from({ length: 30 }, (_, number) => 500 + ((number * 11) % 30) * 50)
  const seen = await inOrder('delayed', delays.map((delay) => ({ delay })))
  const due = seen.map(({ due }) => due)
  assert.deepEqual(due, [...due].sort((a, b) => a - b))
  for (const { due, ran } of seen) assert(ran >= due, `${due - ran} ms too early`)
}

async function repeated() {
  const queue = open('repeated')
  let runs = 0
  queue.process(async () => ++runs)
  await queue.add({}, { repeat: { every: 200, limit: 5 } })
  await waitFor(() => runs === 5, 10, 'five runs')
  await sleep(500)
  assert.equal(runs, 5)
  assert.equal((await queue.getRepeatableJobs()).length, 1)
  await queue.removeRepeatableByKey((await queue.getRepeatableJobs())[0].key)
  assert.equal((await queue.getRepeatableJobs()).length, 0)
  await queue.close()
}

async function failing() {
  const queue = open('failing')
  queue.process(async (job) => {
    if (job.attemptsMade < job.data.failures) throw new Error('as it should')
    return 'at last'
  })
  const add = (failures) => queue.add({ failures }, { attempts: 3, backoff: { type: 'fixed', delay: 50 } })
  const [good, bad] = [await add(2), await add(3)]
  assert.equal(await good.finished(), 'at last')
  await assert.rejects(bad.finished(), /as it should/)
  assert.equal((await queue.getJob(bad.id)).attemptsMade, 3)
  assert.equal(await queue.getFailedCount(), 1)
  await queue.close()
}

async function main() {
  const redis = new Redis(connection)
  await many(redis)
  await Promise.all([prioritised(), delayed(), repeated(), failing()])
  return `${JOBS} jobs by ${WORKERS} workers, one of them killed; priorities, delays, repeats, retries`
}

if (process.argv[2] === 'work') work()
else runTest(main)
