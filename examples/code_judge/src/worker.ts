// A worker: takes one submission after the other, judges it, and gives back what the dead had.
import { connect, prefix, Queue } from './queue'
import { judge } from './sandbox'

const GIVE_BACK_EVERY_MS = 500

async function main(): Promise<void> {
  const name = `worker-${process.pid}`
  const [redis, blocking] = [connect(prefix + name), connect(prefix + name)]
  const queue = new Queue(redis)
  setInterval(() => void queue.giveBack().catch(() => {}), GIVE_BACK_EVERY_MS)
  // Whoever has started it is gone.
  process.on('disconnect', () => process.exit(0))
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
