// BullMQ, Bull's successor: its Lua scripts make the names of keys themselves, unpack MessagePack,
// and tell of every change in a stream.
//
// Shown: a thousand jobs by three workers, each done at least once, with its result, though one
// worker is killed in the middle of a job (it stalls and is taken up by another); prioritised jobs
// run in their order, delayed ones not before their time and in its order, scheduled ones again and
// again, failing ones as often as they may; a parent runs after its children; a rate is kept.
'use strict'

const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq')
const Redis = require('ioredis')
const { assert, connection, runTest, sleep, startWorker, waitFor } = require('./common')

const JOBS = 1000
const WORKERS = 3
const STUCK = 400
const settings = { connection, lockDuration: 2000, stalledInterval: 500, drainDelay: 1 }

// A worker process: counts its tries of every job; the first of the stuck one never ends.
function work() {
  const redis = new Redis(connection)
  const run = async (job) => {
    const tries = await redis.hincrby('effects', job.data.number, 1)
    if (job.data.number === STUCK && tries === 1) {
      await redis.set('stuck', process.pid)
      await new Promise(() => {})
    }
    return job.data.number * 2
  }
  return new Worker('many', run, { ...settings, concurrency: 4 })
}

async function many(redis) {
  const queue = new Queue('many', { connection })
  const events = new QueueEvents('many', { connection })
  let [completed, stalled] = [0, 0]
  events.on('completed', () => completed++)
  events.on('stalled', () => stalled++)
  await events.waitUntilReady()
  const data = Array.from({ length: JOBS }, (_, number) => ({ name: 'job', data: { number } }))
  const jobs = await queue.addBulk(data)
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
  const counts = await queue.getJobCounts('active', 'waiting', 'delayed', 'prioritized', 'failed')
  assert.deepEqual(Object.values(counts).filter((count) => count), [])
  workers.forEach((worker) => worker.kill('SIGKILL'))
}

// Runs such jobs, added while the queue is paused, and returns them in their order with the times.
async function inOrder(name, jobs) {
  const queue = new Queue(name, { connection })
  await queue.pause()
  for (const options of jobs) await queue.add('job', {}, options)
  const seen = []
  const run = async (job) => {
    seen.push({ priority: job.opts.priority, due: job.timestamp + (job.opts.delay ?? 0), ran: Date.now() })
  }
  const worker = new Worker(name, run, settings)
  await sleep(100)
  assert.deepEqual(seen, [], 'a paused queue rests')
  await queue.resume()
  await waitFor(() => seen.length >= jobs.length, 20, `${name} jobs`)
  await worker.close()
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
  const queue = new Queue('repeated', { connection })
  let runs = 0
  const worker = new Worker('repeated', async () => ++runs, settings)
  await queue.upsertJobScheduler('clock', { every: 200, limit: 5 })
  await waitFor(() => runs === 5, 10, 'five runs')
  await sleep(500)
  assert.equal(runs, 5)
  await queue.removeJobScheduler('clock')
  assert.equal((await queue.getJobSchedulers()).length, 0)
  await worker.close()
}

async function failing() {
  const queue = new Queue('failing', { connection })
  const events = new QueueEvents('failing', { connection })
  const run = async (job) => {
    if (job.attemptsMade < job.data.failures) throw new Error('as it should')
    return 'at last'
  }
  const worker = new Worker('failing', run, settings)
  const options = { attempts: 3, backoff: { type: 'fixed', delay: 50 } }
  const [good, bad] = [await queue.add('job', { failures: 2 }, options), await queue.add('job', { failures: 3 }, options)]
  assert.equal(await good.waitUntilFinished(events), 'at last')
  await assert.rejects(bad.waitUntilFinished(events), /as it should/)
  assert.equal((await queue.getJob(bad.id)).attemptsMade, 3)
  assert.equal(await queue.getFailedCount(), 1)
  await worker.close()
}

async function family() {
  const events = new QueueEvents('parents', { connection })
  await events.waitUntilReady()
  const child = new Worker('children', async (job) => job.data.number, { ...settings, concurrency: 3 })
  const parent = new Worker(
    'parents',
    async (job) => Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0),
    settings,
  )
  const children = Array.from({ length: 20 }, (_, number) => ({
    name: 'child', queueName: 'children', data: { number },
  }))
  const flow = await new FlowProducer({ connection }).add({ name: 'parent', queueName: 'parents', children })
  assert.equal(await flow.job.waitUntilFinished(events), 190)
  await Promise.all([child.close(), parent.close()])
}

async function limited() {
  const queue = new Queue('limited', { connection })
  const times = []
  const limiter = { max: 5, duration: 500 }
  await queue.addBulk(Array.from({ length: 15 }, () => ({ name: 'job', data: {} })))
  const worker = new Worker('limited', async () => times.push(Date.now()), { ...settings, limiter })
  await waitFor(() => times.length === 15, 10, 'all jobs')
  assert(times[14] - times[0] >= 800, `fifteen jobs within ${times[14] - times[0]} ms`)
  await worker.close()
}

async function main() {
  const redis = new Redis(connection)
  await many(redis)
  await Promise.all([prioritised(), delayed(), repeated(), failing(), family(), limited()])
  return `${JOBS} jobs by ${WORKERS} workers, one of them killed; priorities, delays, repeats, families`
}

if (process.argv[2] === 'work') work()
else runTest(main)
