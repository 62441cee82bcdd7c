// `npm start`: the server and two workers, which are started again when they end.
import { fork } from 'node:child_process'
import path from 'node:path'

const WORKERS = Number(process.env.WORKERS ?? 2)
const AGAIN_AFTER_MS = 1000

function keep(program: string): void {
  fork(path.join(__dirname, program)).on('exit', () => setTimeout(() => keep(program), AGAIN_AFTER_MS))
}

keep('server.js')
for (let number = 0; number < WORKERS; number++) keep('worker.js')
