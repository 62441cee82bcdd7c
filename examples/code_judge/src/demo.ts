// The demonstration: a hundred users at their websockets, a server and three workers as processes.
//
// The server is killed with SIGKILL while users submit, and started again; then a worker while it
// judges; others are ended in order, again and again while they judge the same submission. Some
// submissions attack their worker. Later the server's subscription is cut, and every tenth user goes
// away for a while after submitting. Every submission is sent twice, as after a lost answer. Each
// user has to be told the right verdict of each of its submissions, once on each socket, and nobody
// else's. Ends with one line, and with 1 if it is broken.
import './own_prefix'
import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import type Redis from 'ioredis'
import { WebSocket } from 'ws'
import { ATTEMPTS_MAX, connect, prefix, Queue, type Result, type Verdict } from './queue'
import { isIsolated } from './sandbox'

const USERS = 100
const WORKERS = 3
// Half a minute on an idle machine.
const DEADLINE_MS = 150_000

interface Sample {
  problem: string
  code: string
  verdict: Verdict
}

// What users send, and what it deserves.
const samples: Sample[] = [
  {
    problem: 'two-sum',
    code: `const solve = (numbers, target) => {
      for (let a = 0; a < numbers.length; a++)
        for (let b = a + 1; b < numbers.length; b++) if (numbers[a] + numbers[b] === target) return [a, b]
    }`,
    verdict: 'accepted',
  },
  { problem: 'palindrome', code: "const solve = (text) => text === [...text].reverse().join('')", verdict: 'accepted' },
  { problem: 'palindrome', code: 'const solve = () => true', verdict: 'wrong answer' },
  { problem: 'palindrome', code: "const solve = () => require('fs').readdirSync('/')", verdict: 'error' },
  { problem: 'two-sum', code: "const solve = () => console.log('more and '.repeat(1e5))", verdict: 'output limit' },
  {
    problem: 'palindrome',
    code: `const kept = Array.from({ length: 64 }, () => Buffer.alloc(1 << 24, 1))
      const solve = (text) => kept && text === [...text].reverse().join('')`,
    verdict: 'error',
  },
]

// Sent by one user each, as they take their time. The second one kills who watches it, if it can, and
// holds the pipes open.
const slow: Sample[] = [
  { problem: 'two-sum', code: 'const solve = () => { for (;;) {} }', verdict: 'time limit' },
  {
    problem: 'palindrome',
    code: "const solve = () => true; process.kill(process.ppid, 'SIGKILL'); setInterval(() => {}, 1e3)",
    verdict: 'time limit',
  },
]

// Takes its time and is right.
const patient: Sample = {
  problem: 'palindrome',
  code: `const solve = (text) => {
    for (const end = Date.now() + 400; Date.now() < end; );
    return text === [...text].reverse().join('')
  }`,
  verdict: 'accepted',
}

// Kills workers and writes to Redis, if it can.
const intruder = (pids: number[], { host, port }: Redis['options'], key: string): Sample => ({
  problem: 'palindrome',
  code: `for (const pid of ${JSON.stringify(pids)}) try { process.kill(pid, 'SIGKILL') } catch {}
    const write = function () { this.end('SET ${key} 1\\r\\n') }
    require('net').connect(${port}, '${host}', write).on('error', () => {})
    const solve = () => true`,
  verdict: 'wrong answer',
})

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const deadline = Date.now() + DEADLINE_MS

async function waitFor<T>(condition: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
  for (;;) {
    const value = await condition()
    if (value) return value
    assert(Date.now() < deadline, `not within ${DEADLINE_MS / 1000} s: ${what}`)
    await sleep(10)
  }
}

const counts = { sent: 0, doubled: 0, wrongUser: 0, misjudged: 0, unasked: 0, unanswered: 0, reconnected: 0 }

class User {
  readonly expected = new Map<string, Verdict>()
  readonly told = new Set<string>()
  private token = ''
  private socket: WebSocket | null = null
  private isAway = false

  constructor(private readonly port: number, readonly name: string) {}

  // Sent again when no answer comes, as from a connection that the server has just closed as idle.
  private async post(path: string, body: unknown): Promise<{ reply: any; isFirst: boolean }> {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${this.token}` }
    const request = { method: 'POST', headers, body: JSON.stringify(body) }
    for (let isFirst = true; ; isFirst = false) {
      try {
        const response = await fetch(`http://127.0.0.1:${this.port}${path}`, request)
        const reply = await response.json()
        assert(response.ok, JSON.stringify(reply))
        return { reply, isFirst }
      } catch (error) {
        if (!(error instanceof TypeError) || Date.now() > deadline) throw error
        counts.unanswered++
        await sleep(50)
      }
    }
  }

  async enter(): Promise<void> {
    this.token = (await this.post('/sessions', { user: this.name })).reply.token
    await this.listen()
  }

  // Connects, and again whenever the connection ends, until the user goes away.
  async listen(): Promise<void> {
    this.isAway = false
    const socket = await this.open()
    const here = new Set<string>()
    socket.on('message', (data) => {
      const result = JSON.parse(data.toString()) as Result
      if (!result.id.startsWith(`${this.name}.`) || result.user !== this.name) counts.wrongUser++
      else if (!this.expected.has(result.id)) counts.unasked++
      else if (this.expected.get(result.id) !== result.verdict) {
        counts.misjudged++
        console.log(result)
      }
      if (here.has(result.id)) counts.doubled++
      here.add(result.id)
      this.told.add(result.id)
      socket.send(JSON.stringify({ seen: result.id }))
    })
    socket.on('close', () => {
      if (this.isAway) return
      counts.reconnected++
      void this.listen()
    })
    socket.send(this.token)
    this.socket = socket
  }

  private async open(): Promise<WebSocket> {
    for (;;) {
      const socket = new WebSocket(`ws://127.0.0.1:${this.port}/results`)
      const opened = once(socket, 'open').then(() => true, () => false)
      socket.on('error', () => {}) // the end of a connection says enough
      if (await opened) return socket
      assert(Date.now() < deadline, 'no connection to the server')
      await sleep(50)
    }
  }

  async leave(): Promise<void> {
    const socket = this.socket!
    this.isAway = true
    if (socket.readyState === WebSocket.CLOSED) return
    socket.close()
    await once(socket, 'close')
  }

  async submit(number: number, { problem, code, verdict }: Sample): Promise<void> {
    const submission = { id: String(number), problem, code }
    const id = `${this.name}.${number}`
    this.expected.set(id, verdict)
    const { reply, isFirst } = await this.post('/submissions', submission)
    counts.sent++
    assert.equal(reply.id, id)
    assert(reply.isNew || !isFirst, 'it was not sent before')
    assert.deepEqual((await this.post('/submissions', submission)).reply, { id, isNew: false })
  }

  get lost(): number {
    return [...this.expected.keys()].filter((id) => !this.told.has(id)).length
  }
}

const started: ChildProcess[] = []

function start(program: string, port = 0): ChildProcess {
  const env = { ...process.env, PORT: String(port) }
  const child = fork(path.join(__dirname, program), { env })
  started.push(child)
  return child
}

// On that port, or one that is free, below those that the system gives to clients.
async function startServer(given?: number): Promise<{ server: ChildProcess; port: number }> {
  for (;;) {
    const port = given ?? 20_000 + Math.floor(Math.random() * 12_000)
    const server = start('server.js', port)
    const isUp = await Promise.race([once(server, 'message').then(() => true), once(server, 'exit').then(() => false)])
    if (isUp) return { server, port }
    assert(Date.now() < deadline, 'the server does not start')
  }
}

async function named(redis: Redis, name: string): Promise<string[]> {
  const lines = String(await redis.client('LIST')).split('\n')
  return lines.filter((line) => line.includes(` name=${prefix}${name} `)).map((line) => /id=(\d+)/.exec(line)![1]!)
}

// Kills a worker in work, and returns the submission that it held then. One that had just sent its
// result when it died does not count, so another one has to go.
async function killInWork(redis: Redis, queue: Queue, workers: ChildProcess[]): Promise<{ held: string; killed: number }> {
  const owned = (worker: string) => async () => {
    const all = Object.entries(await redis.hgetall(queue.key('owners')))
    return all.find(([, owner]) => owner === worker)?.[0]
  }
  for (let killed = 1; ; killed++) {
    const victim = workers.shift()!
    const name = `worker-${victim.pid}`
    await waitFor(owned(name), 'a worker in work')
    assert(victim.exitCode === null && victim.kill('SIGKILL'), 'the worker was alive')
    await waitFor(async () => (await named(redis, name)).length === 0, 'the end of its connections')
    const held = await owned(name)()
    workers.push(start('worker.js'))
    if (held !== undefined) return { held, killed }
  }
}

// Ends the workers of a submission in order, so often that it would be given up if they were killed,
// or until it is judged. How many that were.
async function endInWork(redis: Redis, queue: Queue, workers: ChildProcess[], user: User, id: string): Promise<number> {
  const found = async () => {
    const owner = await redis.hget(queue.key('owners'), id)
    return user.told.has(id) || workers.find(({ pid }) => owner === `worker-${pid}`)
  }
  for (let ended = 0; ended < ATTEMPTS_MAX; ended++) {
    const victim = await waitFor(found, 'its worker, or its result')
    if (victim === true) return ended
    const exited = once(victim, 'exit')
    victim.kill('SIGTERM')
    await exited
    workers[workers.indexOf(victim)] = start('worker.js')
  }
  return ATTEMPTS_MAX
}

// Counts how often each result is published.
async function listenIn(redis: Redis): Promise<Map<string, number>> {
  const published = new Map<string, number>()
  redis.on('pmessage', (_pattern, _channel, message: string) => {
    const { id } = JSON.parse(message) as Result
    published.set(id, (published.get(id) ?? 0) + 1)
  })
  await redis.psubscribe(`${prefix}results:*`)
  return published
}

async function cutSubscription(redis: Redis): Promise<number> {
  const ids = await named(redis, 'subscriber')
  for (const id of ids) await redis.client('KILL', 'ID', id)
  return ids.length
}

async function removeKeys(redis: Redis): Promise<void> {
  for await (const keys of redis.scanStream({ match: `${prefix}*`, count: 1000 })) {
    if (keys.length > 0) await redis.unlink(...keys)
  }
}

async function main(redis: Redis): Promise<string> {
  const queue = new Queue(redis)
  const published = await listenIn(connect(`${prefix}listener`))
  const { server, port } = await startServer()
  const workers = Array.from({ length: WORKERS }, () => start('worker.js'))
  const users = Array.from({ length: USERS }, (_, number) => new User(port, `user${number}`))
  await Promise.all(users.map((user) => user.enter()))

  const told = () => users.reduce((sum, user) => sum + user.told.size, 0)
  const submitted = users.map(async (user, number) => {
    await user.submit(0, slow[number] ?? samples[number % samples.length]!)
    if (number % 5 === 0) await user.submit(1, samples[(number / 5) % samples.length]!)
    if (number % 10 === 0) await user.leave()
  })
  await waitFor(() => counts.sent >= USERS / 3, 'a third of the submissions')
  server.kill('SIGKILL')
  await once(server, 'exit')
  await startServer(port)
  await Promise.all(submitted)
  await waitFor(() => told() >= 20, 'the first results')
  const { held, killed } = await killInWork(redis, queue, workers)
  const [, one, two] = users as [User, User, User]
  await one.submit(1, patient)
  const ended = await endInWork(redis, queue, workers, one, 'user1.1')
  const reached = queue.key('reached')
  const pids = workers.map(({ pid }) => pid!)
  if (isIsolated) await two.submit(1, intruder(pids, redis.options, reached))
  await waitFor(() => told() >= 40, 'more results')
  const cut = await cutSubscription(redis)
  await waitFor(() => told() >= 60, 'more results')
  await Promise.all(users.filter((_, number) => number % 10 === 0).map((user) => user.listen()))
  // What does not come within the time is lost, and said so below.
  await waitFor(() => users.every((user) => user.lost === 0), 'all results').catch(console.error)
  // Nothing is left to judge, so whatever is told twice has been told by now, or will not be.
  const idle = async () => (await redis.llen(queue.key('waiting'))) + (await redis.llen(queue.key('running'))) === 0
  await waitFor(idle, 'an idle queue').catch(console.error)
  const again = Number(await redis.get(queue.key('again')))
  const finished = await redis.zcard(queue.key('finished'))
  const results = users.map((user) => queue.results(user.name))
  const isSeen = async () => (await redis.exists(...results)) === 0
  await waitFor(isSeen, 'everything is seen').catch(console.error)
  const isAlive = ({ exitCode, signalCode }: ChildProcess) => (exitCode ?? signalCode) === null
  const isSafe = workers.every(isAlive) && (await redis.exists(reached)) === 0

  const lost = users.reduce((sum, user) => sum + user.lost, 0)
  const { sent, doubled, wrongUser, misjudged, unasked, unanswered, reconnected } = counts
  const isPublished = published.size === sent && [...published.values()].every((times) => times === 1)
  const isKept = lost + doubled + wrongUser + misjudged + unasked === 0 && finished === sent
    && told() === sent && isPublished && isSafe
    && again >= 1 && ended >= 1 && cut >= 1 && reconnected >= 1
  const line = `code_judge: ${isKept ? 'kept' : 'BROKEN'}. submissions of ${USERS} users: ${sent} sent, `
    + `${told()} done, ${lost} lost, ${doubled} doubled, ${wrongUser} to the wrong user, ${misjudged} misjudged; `
    + `${isPublished ? 'each published once' : 'not each published once'}; ${killed} worker killed, the last one with ${held}, `
    + `${again} judged again, ${ended} ended; ${isSafe ? 'none' : 'some'} harmed by submissions, `
    + `${isIsolated ? 'in namespaces' : 'without namespaces'}; the server killed, `
    + `${reconnected} users reconnected, ${unanswered} requests unanswered, `
    + `${cut} subscription cut, ${USERS / 10} users away`
  if (!isKept) throw new Error(line)
  return line
}

const redis = connect(`${prefix}demo`)
main(redis).then(
  (line) => [line, 0] as const,
  (error: Error) => {
    const isVerdict = error.message.startsWith('code_judge:')
    return [isVerdict ? error.message : `code_judge: BROKEN. ${error.stack?.replace(/\s+/g, ' ')}`, 1] as const
  },
).then(async ([line, code]) => {
  for (const child of started) child.kill('SIGKILL')
  await removeKeys(redis).catch(console.error)
  console.log(line)
  process.exit(code)
})
