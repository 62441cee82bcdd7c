// Runs one submission in a process of its own: no shell, no environment, no files, no children.
//
// Seconds of the processor and memory are limited by the kernel, time on the clock by the worker,
// and by `timeout` where the worker has died. The permission model of Node does not keep code from
// the network, nor from signals to other processes. Namespaces do: the submission sees no process
// but `timeout`, which it cannot kill as that is the first one there, and no network. Where the
// system does not give them, a submission can kill its worker and talk to Redis.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { problems } from './problems'
import type { Result } from './queue'

const CPU_SECONDS = 2
const CLOCK_SECONDS = 20
const OUTPUT_MAX = 64 * 1024
// Of JavaScript's heap, and with buffers and all else, beyond what a Node needs that does nothing, as
// this one: some versions reserve half a gigabyte for code.
const HEAP_MB = 64
const MEMORY_MB = 192
const OWN_KB = Number(/VmData:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1])

const namespaces = ['unshare', '--user', '--pid', '--net', '--fork', '--kill-child']
export const isIsolated = spawnSync(namespaces[0]!, [...namespaces.slice(1), 'true']).status === 0
const permission = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission' : '--experimental-permission'
const command = [
  'prlimit', `--cpu=${CPU_SECONDS}`, `--data=${OWN_KB * 1024 + MEMORY_MB * 2 ** 20}`,
  ...(isIsolated ? namespaces : []), 'timeout', '--signal=KILL', String(CLOCK_SECONDS + 5),
  process.execPath, '--no-warnings', permission, `--max-old-space-size=${HEAP_MB}`, '-',
]

interface Run {
  output: string
  errors: string
  isCut: boolean
  isLate: boolean
  isKilled: boolean
}

function run(script: string): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), { env: {}, stdio: 'pipe', detached: true })
    let [output, errors, isCut, isLate] = ['', '', false, false]
    // Who still holds the pipes is not waited for.
    const end = () => {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch {
        // All are gone.
      }
      child.stdout.destroy()
      child.stderr.destroy()
    }
    const timer = setTimeout(() => { isLate = true; end() }, CLOCK_SECONDS * 1000)
    process.once('exit', end)
    const keep = (text: string, more: Buffer) => {
      if (text.length + more.length > OUTPUT_MAX) {
        isCut = true
        end()
        return text
      }
      return text + more.toString()
    }
    child.stdout.on('data', (more: Buffer) => { output = keep(output, more) })
    child.stderr.on('data', (more: Buffer) => { errors = keep(errors, more) })
    child.stdin.on('error', () => {}) // it may end before it has read its script
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      process.off('exit', end)
      const isKilled = signal === 'SIGKILL' || code === 128 + 9
      resolve({ output, errors, isCut, isLate, isKilled })
    })
    child.stdin.end(script)
  })
}

// Only arguments go to the submission; what is expected stays here.
export async function judge(name: string, code: string): Promise<Omit<Result, 'id' | 'user'>> {
  const problem = problems[name]
  if (!problem) return { verdict: 'error', detail: 'no such problem' }
  const args = JSON.stringify(problem.cases.map((one) => one.args))
  const { output, errors, isCut, isLate, isKilled } = await run(
    `${code}\n;process.stdout.write('\\n' + JSON.stringify(${args}.map((args) => solve(...args))))`,
  )
  if (isCut) return { verdict: 'output limit', detail: `${OUTPUT_MAX} bytes` }
  if (isLate) return { verdict: 'time limit', detail: `${CLOCK_SECONDS} seconds on the clock` }
  if (isKilled) return { verdict: 'time limit', detail: `${CPU_SECONDS} seconds` }
  let results: unknown
  try {
    results = JSON.parse(output.slice(output.lastIndexOf('\n') + 1))
  } catch {
    const line = errors.split('\n').find((text) => /^\w*Error/.test(text))
    return { verdict: 'error', detail: line?.slice(0, 200) ?? 'no result' }
  }
  for (const [at, one] of problem.cases.entries()) {
    const result = (results as unknown[])[at]
    if (JSON.stringify(result) !== JSON.stringify(one.expected)) {
      const detail = `case ${at + 1}: ${JSON.stringify(result) ?? 'nothing'}`
      return { verdict: 'wrong answer', detail: detail.slice(0, 200) }
    }
  }
  return { verdict: 'accepted', detail: `${problem.cases.length} cases` }
}
