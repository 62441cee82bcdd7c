// A worker: takes one submission after the other, judges it, and gives back what the dead had.
import { connect, prefix, Queue } from './queue'
import { isIsolated, judge } from './sandbox'

const GIVE_BACK_EVERY_MS = 500
const LEAVE_MS = 2000

async function main(): Promise<void> {
  const name = `worker-${process.pid}`
  const [redis, blocking] = [connect(prefix + name), connect(prefix + name)]
  const queue = new Queue(redis)
  setInterval(() => void queue.giveBack().catch(() => {}), GIVE_BACK_EVERY_MS)
  if (!isIsolated) console.error('worker: no namespaces, submissions reach processes and the network')
  // Ends in order. What it sends after QUIT is not heard, so it begins nothing more.
  let left: Promise<unknown> | null = null
  const leave = () => {
    setTimeout(() => process.exit(1), LEAVE_MS) // Redis may be away
    left ??= Promise.all([queue.leave(name), redis.quit()]).finally(() => process.exit(0))
  }
  process.on('SIGTERM', leave).on('SIGINT', leave)
  process.on('disconnect', leave) // whoever has started it is gone
  for (;;) {
    const taken = await queue.take(blocking, name)
    if (taken === null) continue
    const { submission, isLast } = taken
    const work = isLast
      ? Promise.resolve({ verdict: 'given up' as const, detail: 'workers do not survive it' })
      : judge(submission.problem, submission.code)
    await queue.finish(name, submission, work)
  }
}

void main()
