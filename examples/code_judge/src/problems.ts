// What users can solve: a function `solve`, called with each of these arguments.
export interface Problem {
  text: string
  cases: { args: unknown[]; expected: unknown }[]
}

export const problems: Record<string, Problem> = {
  'two-sum': {
    text: 'solve(numbers, target): the places of two numbers whose sum is target, the lower one first.',
    cases: [
      { args: [[2, 7, 11, 15], 9], expected: [0, 1] },
      { args: [[3, 2, 4], 6], expected: [1, 2] },
      { args: [[3, 3], 6], expected: [0, 1] },
    ],
  },
  palindrome: {
    text: 'solve(text): whether the text reads the same from both ends.',
    cases: [
      { args: ['racecar'], expected: true },
      { args: ['redis'], expected: false },
      { args: [''], expected: true },
    ],
  },
}
