// The answer that every host is asked for, and how fast it comes. Runs in Node and in a page.

const PROMPT = "Once upon a time";
const OPTIONS = { seed: 42, maxTokens: 64 };

/** The token ids, the tokens per second of the first answer, and the median of those of five more. */
export async function measure(model) {
  const answers = [];
  for (let round = 0; round < 6; round++) {
    answers.push(await answer(model));
  }
  const [{ tokens, speed: first }, ...others] = answers;
  const speeds = others.map(({ speed }) => speed).sort((a, b) => a - b);
  return { tokens, first, speed: Math.round(10 * speeds[2]) / 10 };
}

async function answer(model) {
  const session = await model.session();
  await session.configure(OPTIONS);
  await session.feed(await model.tokenize(PROMPT));
  const tokens = [];
  const start = performance.now();
  for await (const { id } of session.tokens()) {
    tokens.push(id);
  }
  const seconds = (performance.now() - start) / 1000;
  await session.close();
  return { tokens, speed: tokens.length / seconds };
}
