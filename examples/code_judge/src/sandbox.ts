// Runs one submission in a process of its own: no shell, no environment, no files, no children.
//
// The time is limited twice, in seconds of the processor by the kernel, and on the clock by
// `timeout`, which goes on when the worker is killed, so that no submission outlives both. Output
// and memory are limited, too. The permission model of Node does not keep code from the network: a
// judge for strangers runs this in a container without one.
import { spawn } from 'node:child_process'
import { problems } from './problems'
import type { Result } from './queue'

const CPU_SECONDS = 2
const CLOCK_SECONDS = 20
const OUTPUT_MAX = 64 * 1024
const MEMORY_MB = 64

const permission = process.allowedNodeEnvironmentFlags.has('--permission')
  ? '--permission' : '--experimental-permission'
const command = [
  'prlimit', `--cpu=${CPU_SECONDS}`, 'timeout', '--signal=KILL', String(CLOCK_SECONDS),
  process.execPath, '--no-warnings', permission, `--max-old-space-size=${MEMORY_MB}`, '-',
]

interface Run {
  output: string
  errors: string
  isCut: boolean
  isKilled: boolean
}

function run(script: string): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), { env: {}, stdio: 'pipe' })
    let [output, errors, isCut] = ['', '', false]
    const keep = (text: string, more: Buffer) => {
      if (text.length + more.length > OUTPUT_MAX) {
        isCut = true
        child.kill('SIGTERM') // `timeout` passes it on
        return text
      }
      return text + more.toString()
    }
    child.stdout.on('data', (more: Buffer) => { output = keep(output, more) })
    child.stderr.on('data', (more: Buffer) => { errors = keep(errors, more) })
    child.stdin.on('error', () => {}) // it may end before it has read its script
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({ output, errors, isCut, isKilled: signal === 'SIGKILL' || code === 128 + 9 })
    })
    child.stdin.end(script)
  })
}

// Only arguments go to the submission; what is expected stays here.
export async function judge(name: string, code: string): Promise<Omit<Result, 'id' | 'user'>> {
  const problem = problems[name]
  if (!problem) return { verdict: 'error', detail: 'no such problem' }
  const args = JSON.stringify(problem.cases.map((one) => one.args))
  const { output, errors, isCut, isKilled } = await run(
    `${code}\n;process.stdout.write('\\n' + JSON.stringify(${args}.map((args) => solve(...args))))`,
  )
  if (isCut) return { verdict: 'output limit', detail: `${OUTPUT_MAX} bytes` }
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
