// The queue of submissions: what users have sent, who judges it, and what came out.
//
//   jobs       hash         id -> submission, until it is judged
//   waiting    list         ids; pushed left, taken right
//   running    list         ids that a worker has moved here with BLMOVE
//   leases     sorted set   id -> when its worker must have renewed it, in the server's time
//   owners     hash         id -> worker
//   attempts   hash         id -> how often it was begun
//   finished   sorted set   id -> when, so that the same submission sent again is not judged again
//   results:U  hash         id -> result, until user U has seen it
//
// An id is moved and never popped, so a worker may be killed anywhere: its lease lapses, and the id
// goes back to where it is taken next. A worker that was only slow finishes a job that another has
// meanwhile, or the other way round; the first result counts, and only that one is published.
import Redis from 'ioredis'

export interface Submission {
  id: string
  user: string
  problem: string
  code: string
}

export type Verdict = 'accepted' | 'wrong answer' | 'error' | 'time limit' | 'output limit' | 'given up'

export interface Result {
  id: string
  user: string
  verdict: Verdict
  detail: string
}

const LEASE_MS = 3000
// A submission that its worker does not survive is not tried for ever.
export const ATTEMPTS_MAX = 4
const KEPT_SECONDS = 24 * 3600

const NOW = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000)"

// Keys: jobs, waiting, finished. Arguments: id, submission.
const SUBMIT = `
  if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 or redis.call('ZSCORE', KEYS[3], ARGV[1]) then
    return 0
  end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('LPUSH', KEYS[2], ARGV[1])
  return 1`

// Keys: jobs, running, leases, owners, attempts, again. Arguments: id, worker, length of a lease.
const BEGIN = `
  ${NOW}
  local job = redis.call('HGET', KEYS[1], ARGV[1])
  if not job then
    redis.call('LREM', KEYS[2], 0, ARGV[1])
    return false
  end
  redis.call('ZADD', KEYS[3], now + ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
  local attempts = redis.call('HINCRBY', KEYS[5], ARGV[1], 1)
  if attempts > 1 then redis.call('INCR', KEYS[6]) end
  return {job, attempts}`

// Keys: leases, owners. Arguments: id, worker, length of a lease.
const RENEW = `
  ${NOW}
  if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
  return redis.call('ZADD', KEYS[1], 'XX', 'CH', now + ARGV[3], ARGV[1])`

// Keys: jobs, running, leases, owners, attempts, finished, results. Arguments: id, result, channel,
// seconds that results are kept.
const FINISH = `
  ${NOW}
  redis.call('LREM', KEYS[2], 0, ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1])
  redis.call('HDEL', KEYS[5], ARGV[1])
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
  redis.call('ZADD', KEYS[6], now, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[6], '-inf', now - ARGV[4] * 1000)
  redis.call('HSET', KEYS[7], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[7], ARGV[4])
  redis.call('PUBLISH', ARGV[3], ARGV[2])
  return 1`

// Keys: running, leases, owners, waiting. Arguments: length of a lease. An id without a lease was
// moved by a worker that died before it said so, or is about to.
const GIVE_BACK = `
  ${NOW}
  local given = 0
  for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    local lease = redis.call('ZSCORE', KEYS[2], id)
    if not lease then
      redis.call('ZADD', KEYS[2], now + ARGV[1], id)
    elseif tonumber(lease) < now then
      redis.call('LREM', KEYS[1], 0, id)
      redis.call('ZREM', KEYS[2], id)
      redis.call('HDEL', KEYS[3], id)
      redis.call('RPUSH', KEYS[4], id)
      given = given + 1
    end
  end
  return given`

// Keys: running, leases, owners, attempts, waiting. Arguments: worker. What it has in work goes back
// at once, and has not failed.
const LEAVE = `
  local owners = redis.call('HGETALL', KEYS[3])
  for at = 1, #owners, 2 do
    local id = owners[at]
    if owners[at + 1] == ARGV[1] then
      redis.call('LREM', KEYS[1], 0, id)
      redis.call('ZREM', KEYS[2], id)
      redis.call('HDEL', KEYS[3], id)
      redis.call('HINCRBY', KEYS[4], id, -1)
      redis.call('RPUSH', KEYS[5], id)
    end
  end
  return 1`

export const redisUrl = (): string => {
  const port = process.env.SYSTEMS_PORTS?.split(' ')[0] // set by tests/systems/run
  return port ? `redis://127.0.0.1:${port}` : process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'
}

// The name is what CLIENT LIST shows. The check with INFO fails where somebody subscribes before it.
export const connect = (connectionName: string, enableReadyCheck = true): Redis => {
  const options = { connectionName, enableReadyCheck, maxRetriesPerRequest: null }
  const redis = new Redis(redisUrl(), options)
  redis.on('error', (error: Error) => console.error(`redis: ${error.message}`))
  return redis
}

export const prefix = process.env.JUDGE_PREFIX ?? 'code_judge:'

export class Queue {
  constructor(private readonly redis: Redis) {}

  key(name: string): string {
    return prefix + name
  }

  private keys(...names: string[]): string[] {
    return names.map((name) => this.key(name))
  }

  // The channel on which a user's results are told, and the key under which they wait.
  results(user: string): string {
    return this.key(`results:${user}`)
  }

  // False when this submission was sent before.
  async submit(submission: Submission): Promise<boolean> {
    const keys = this.keys('jobs', 'waiting', 'finished')
    return (await this.redis.eval(SUBMIT, 3, ...keys, submission.id, JSON.stringify(submission))) === 1
  }

  // Waits at most a second. `blocking` is a connection that may be kept waiting.
  async take(blocking: Redis, worker: string): Promise<{ submission: Submission; isLast: boolean } | null> {
    const [waiting, running] = [this.key('waiting'), this.key('running')]
    const id = await blocking.blmove(waiting, running, 'RIGHT', 'LEFT', 1)
    if (id === null) return null
    const keys = this.keys('jobs', 'running', 'leases', 'owners', 'attempts', 'again')
    const begun = (await this.redis.eval(BEGIN, 6, ...keys, id, worker, LEASE_MS)) as [string, number] | null
    if (begun === null) return null
    return { submission: JSON.parse(begun[0]) as Submission, isLast: begun[1] >= ATTEMPTS_MAX }
  }

  // Renews the lease while the work goes on, and stores its result, if it is the first one.
  async finish(worker: string, submission: Submission, work: Promise<Omit<Result, 'id' | 'user'>>): Promise<boolean> {
    const { id, user } = submission
    const keys = this.keys('leases', 'owners')
    const renew = () => void this.redis.eval(RENEW, 2, ...keys, id, worker, LEASE_MS)
    const timer = setInterval(renew, LEASE_MS / 3)
    const result: Result = { id, user, ...(await work.finally(() => clearInterval(timer))) }
    const all = [...this.keys('jobs', 'running', 'leases', 'owners', 'attempts', 'finished'), this.results(user)]
    const args = [id, JSON.stringify(result), this.results(user), KEPT_SECONDS]
    return (await this.redis.eval(FINISH, 7, ...all, ...args)) === 1
  }

  // Gives back what the dead had, and returns how many that were. Any number may do this.
  async giveBack(): Promise<number> {
    const keys = this.keys('running', 'leases', 'owners', 'waiting')
    return (await this.redis.eval(GIVE_BACK, 4, ...keys, LEASE_MS)) as number
  }

  // For a worker that ends in order.
  async leave(worker: string): Promise<void> {
    const keys = this.keys('running', 'leases', 'owners', 'attempts', 'waiting')
    await this.redis.eval(LEAVE, 5, ...keys, worker)
  }

  // What a user has not seen yet.
  async unseen(user: string): Promise<Result[]> {
    const results = await this.redis.hvals(this.results(user))
    return results.map((text) => JSON.parse(text) as Result)
  }

  async seen(user: string, id: string): Promise<void> {
    await this.redis.hdel(this.results(user), id)
  }
}
