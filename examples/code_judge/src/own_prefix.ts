// Keys of its own for each demonstration; imported before anything that reads the prefix.
import { randomBytes } from 'node:crypto'

process.env.JUDGE_PREFIX = `code_judge:${randomBytes(4).toString('hex')}:`
