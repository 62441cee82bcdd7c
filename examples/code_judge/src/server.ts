// The server that users talk to: takes submissions by HTTP, tells results by websocket.
//
//   POST /sessions      {user}                  -> {token}, a stand-in for a real login
//   POST /submissions   {id, problem, code}     -> 202; `authorization: Bearer TOKEN`
//   GET  /problems
//   WS   /results       the token first; then {"seen": id} for each result that was shown
//
// The id of a submission is made by the client, who may send it again when it has got no answer.
//
// Publishing is only a knock: a result is kept until its user has seen it. Whoever connects, and
// everybody after the subscription was interrupted, gets what has not been seen; what a socket was
// told already it is not told again.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import express, { type Request } from 'express'
import { WebSocket, WebSocketServer } from 'ws'
import { problems } from './problems'
import { connect, prefix, Queue, type Result } from './queue'

const SESSION_SECONDS = 3600
const CODE_MAX = '64kb'

const redis = connect(`${prefix}server`)
const subscriber = connect(`${prefix}subscriber`, false)
const queue = new Queue(redis)

const sessionKey = (token: string) => queue.key(`session:${token}`)
const isName = (value: unknown): value is string => typeof value === 'string' && /^[\w-]{1,40}$/.test(value)

// The sockets of each user, with the ids that each was told.
const sockets = new Map<string, Map<WebSocket, Set<string>>>()

function tell(result: Result): void {
  for (const [socket, told] of sockets.get(result.user) ?? []) {
    if (told.has(result.id) || socket.readyState !== WebSocket.OPEN) continue
    told.add(result.id)
    socket.send(JSON.stringify(result))
  }
}

// Subscribed first and read then, so that nothing falls between.
async function catchUp(users: string[]): Promise<void> {
  if (users.length === 0) return
  await subscriber.subscribe(...users.map((user) => queue.results(user)))
  for (const user of users) (await queue.unseen(user)).forEach(tell)
}

async function join(socket: WebSocket, user: string): Promise<void> {
  const all = sockets.get(user) ?? new Map<WebSocket, Set<string>>()
  sockets.set(user, all.set(socket, new Set()))
  await catchUp([user])
}

async function leave(socket: WebSocket, user: string): Promise<void> {
  const all = sockets.get(user)
  if (all?.delete(socket) && all.size === 0) {
    sockets.delete(user)
    await subscriber.unsubscribe(queue.results(user))
  }
}

subscriber.on('message', (_channel, message: string) => tell(JSON.parse(message) as Result))
subscriber.on('ready', () => void catchUp([...sockets.keys()]).catch(console.error))

const app = express()
app.use(express.json({ limit: CODE_MAX }))
app.use(express.static(path.join(__dirname, '..', 'public')))

app.get('/problems', (_request, response) => {
  response.json(Object.entries(problems).map(([name, { text }]) => ({ name, text })))
})

app.post('/sessions', async (request, response) => {
  const user: unknown = request.body?.user
  if (!isName(user)) {
    response.status(400).json({ error: 'a user is 1 to 40 letters, digits, _ or -' })
    return
  }
  const token = randomBytes(16).toString('hex')
  await redis.set(sessionKey(token), user, 'EX', SESSION_SECONDS)
  response.json({ token })
})

const userOf = async (request: Request): Promise<string | null> => {
  const token = /^Bearer ([0-9a-f]{32})$/.exec(request.headers.authorization ?? '')?.[1]
  return token ? redis.get(sessionKey(token)) : null
}

app.post('/submissions', async (request, response) => {
  const user = await userOf(request)
  const { id, problem, code } = (request.body ?? {}) as Record<string, unknown>
  if (user === null) {
    response.status(401).json({ error: 'no session' })
  } else if (!isName(id) || typeof code !== 'string' || typeof problem !== 'string' || !Object.hasOwn(problems, problem)) {
    response.status(400).json({ error: 'id, problem and code' })
  } else {
    // Somebody else's id is another id.
    const isNew = await queue.submit({ id: `${user}.${id}`, user, problem, code })
    response.status(202).json({ id: `${user}.${id}`, isNew })
  }
})

const server = createServer(app)
const websockets = new WebSocketServer({ server, path: '/results', maxPayload: 1024 })

websockets.on('connection', (socket) => {
  let user: string | null = null
  const first = async (token: string) => {
    const found = /^[0-9a-f]{32}$/.test(token) ? await redis.get(sessionKey(token)) : null
    if (found === null) return socket.close(4401, 'no session')
    // It may have gone meanwhile.
    if (socket.readyState !== WebSocket.OPEN) return
    user = found
    await join(socket, user)
  }
  socket.on('message', (data) => {
    const text = data.toString()
    const step = user === null ? first(text) : queue.seen(user, seenId(text))
    step.catch((error: Error) => {
      console.error(error)
      socket.terminate()
    })
  })
  socket.on('close', () => {
    if (user !== null) leave(socket, user).catch(console.error)
  })
  socket.on('error', () => socket.terminate())
})

function seenId(text: string): string {
  try {
    return String((JSON.parse(text) as { seen?: unknown }).seen)
  } catch {
    return ''
  }
}

process.on('disconnect', () => process.exit(0))
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  if (process.send) process.send({ port })
  console.log(`http://127.0.0.1:${port}`)
})
